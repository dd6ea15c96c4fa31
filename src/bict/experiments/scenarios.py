"""Scenarios of the literature: what the old model saw, and in what the new one differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bict.data import ImageSet, SplitPlan
from bict.errors import UnknownName
from bict.experiments.plan import photo_settings
from bict.training import TrainSettings


@dataclass(frozen=True)
class Scenario:
    """One upgrade of a model.

    Attributes:
        line: what it is, in one line.
        split: fields of the split plan.
        old: settings of the old model over those of its kind of data.
        new: settings of the new model, the same.
        same_backbone: whether the old model gets the new one's backbone.
    """

    line: str
    split: dict[str, Any] = field(default_factory=dict)
    old: dict[str, Any] = field(default_factory=dict)
    new: dict[str, Any] = field(default_factory=dict)
    same_backbone: bool = False


SCENARIOS = {
    "extended-class": Scenario(
        "The old model saw 30 % of the classes; the new backbone (photos: the picture) is larger, too."
    ),
    "extended-data": Scenario(
        "The old model saw 30 % of each class's images; the backbone (photos: the picture) grows, too.",
        {"scenario": "extended-data"},
    ),
    "same-backbone": Scenario(
        "The old model saw 30 % of the classes; both have the larger backbone.", same_backbone=True
    ),
    "enhanced-backbone": Scenario(
        "Both saw all training images; the new backbone (photos: the picture) is larger.", {"old_share": 1.0}
    ),
    "open-class": Scenario("The new model's classes are none of the old model's.", {"scenario": "open-class"}),
    "other-dimension": Scenario(
        "As extended-class, and new vectors have half as many dimensions again.", new={"dim": 192, "other_dim": True}
    ),
    "other-loss": Scenario(
        "As extended-class, and the old model was trained with a plain softmax.", old={"classification": "softmax"}
    ),
    "sequential": Scenario("Four generations on growing data and backbones, and a gallery that is upgraded with each."),
}


@dataclass(frozen=True)
class ScenarioPlan:
    """A scenario for one data set and seed."""

    name: str
    split: SplitPlan
    old: TrainSettings
    new: TrainSettings
    views: int
    seed: int
    quick: bool

    def dump(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        own = {"views": self.views, "seed": self.seed, "quick": self.quick}
        parts = {"split": self.split, "old": self.old, "new": self.new}
        return {**own, **{name: part.model_dump(mode="json") for name, part in parts.items()}}


def find_scenario(name: str) -> Scenario:
    """A scenario by name.

    Raises:
        UnknownName: none of `SCENARIOS`.
    """
    if name not in SCENARIOS:
        raise UnknownName("scenario", name, SCENARIOS)
    return SCENARIOS[name]


def plan_scenario(name: str, images: ImageSet, *, seed: int = 0, quick: bool = False) -> ScenarioPlan:
    """The scenario with settings that fit the data: small networks for characters, pretrained ones for photos.

    Raises:
        UnknownName: none of `SCENARIOS`.
    """
    scenario = find_scenario(name)
    old, new = _characters(quick) if images.kind == "characters" else photo_settings(quick)
    if scenario.same_backbone:
        old = {**old, **{key: new[key] for key in ("backbone", "size") if key in new}}
    return ScenarioPlan(
        name=name,
        split=SplitPlan.model_validate({**scenario.split, "seed": seed}),
        old=TrainSettings.model_validate({**old, **scenario.old, "seed": seed}),
        new=TrainSettings.model_validate({**new, **scenario.new, "seed": seed}),
        views=2 if quick else 4,
        seed=seed,
        quick=quick,
    )


def _characters(quick: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    old, new = (3, 2) if quick else (12, 10)
    return {"backbone": "conv-small", "epochs": old}, {"backbone": "conv-base", "epochs": new}
