"""Methods of the bench, by name: how the new model is trained, and what carries vectors between the two spaces."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from bict.errors import SettingsError, UnknownName
from bict.losses import BACKWARD_LOSSES

Family = Literal["backward", "transform", "bridge", "merge"]
STATIONARY = {"classification": "simplex", "dim": 1023}


@dataclass(frozen=True)
class Method:
    """One way to upgrade.

    Attributes:
        family: `backward`: the new model is trained towards the old one, and old vectors are carried to it.
            `transform`: the new model is trained freely, and old vectors are carried to it. `bridge`: its queries are
            carried to the old vectors. `merge`: both models serve, each its part of the gallery.
        line: what it is, in one line.
        group: `main`, or `ablation` of the forward transform.
        new: settings of the new model over those of the scenario.
        old: settings of the old model over those of the scenario.
        free: settings of the freely trained new model over those of the scenario.
        rung: of the transform or bridge; empty for the best one of the ladder.
        rung_settings: of that rung.
        views: of each training image that the transform is fitted on; 0 for those of the scenario.
        images: training images that the transform is fitted on; 0 for all.
        target: whether the new model's training needs the freely trained one.
        side: whether old vectors are stored with the vector of a second model beside them.
    """

    family: Family
    line: str
    group: Literal["main", "ablation"] = "main"
    new: dict[str, Any] = field(default_factory=dict)
    old: dict[str, Any] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)
    rung: str = ""
    rung_settings: dict[str, Any] = field(default_factory=dict)
    views: int = 0
    images: int = 0
    target: bool = False
    side: bool = False

    @property
    def weight(self) -> float:
        """The backward weight; 0 for a family without one."""
        return float(self.new.get("backward_weight", 0))

    def dump(self) -> dict[str, Any]:
        """What decides its results, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name not in ("line", "group") and value}


def _loss(name: str, line: str, **more: Any) -> Method:  # noqa: ANN401  (settings of a training)
    weight = BACKWARD_LOSSES[name].weight
    return Method("backward", line, new={"backward_loss": name, "backward_weight": weight, **more})


INFLUENCE = _loss("influence", "influence loss, mean old vectors as prototypes")


def _psi(line: str, rung: str, **more: Any) -> Method:  # noqa: ANN401  (fields of a method)
    return Method("backward", line, "ablation", INFLUENCE.new, rung=rung, **more)


METHODS: dict[str, Method] = {
    "influence": INFLUENCE,
    "influence-head": _loss("influence", "influence loss, the old classifier's rows", prototypes="classifier"),
    "regression": _loss("regression", "squared distance to the own old vector"),
    "contrastive": _loss("contrastive", "own old vector against old vectors of other classes"),
    "ract": _loss("ract", "contrastive, with hard negatives of both models"),
    "unibct": _loss("unibct", "influence loss with prototypes refined over a graph"),
    "lce": _loss("lce", "aligned class centres and their boundary"),
    "mixbct": _loss("mixbct", "old vectors among the classified ones"),
    "advbct": _loss("advbct", "adversarial alignment and elastic boundary"),
    "bt2": replace(_loss("bt2", "extra dimensions behind a learned basis", dim=160, other_dim=True), target=True),
    "hoc": replace(
        _loss("hoc", "stationary simplex classifier with a contrastive term", **STATIONARY),
        old=STATIONARY,
        free=STATIONARY,
    ),
    "joint": _loss("joint", "ours: new and transformed old vectors share a classifier (the default of bict train)"),
    "turned": _loss("turned", "control: turned classes, and nothing of the old model"),
    "identity": Method("transform", "naive swap: old vectors as they are", rung="identity"),
    "procrustes": Method("transform", "orthogonal map", rung="procrustes"),
    "procrustes-centred": Method(
        "transform", "means and orthogonal map", rung="procrustes", rung_settings={"centred": True}
    ),
    "ridge": Method("transform", "affine map", rung="ridge"),
    "low-rank": Method("transform", "affine map of half the rank", rung="low-rank"),
    "lambda-orthogonal": Method("transform", "affine map held near an orthogonal one", rung="lambda-orthogonal"),
    "mlp": Method("transform", "residual network", rung="mlp"),
    "fct": Method("transform", "network of forward compatible training", rung="fct"),
    "fct-side": Method("transform", "the same, with a second stored vector", rung="fct", side=True),
    "fastfill": Method("transform", "the same, with classification and predicted variance", rung="fastfill"),
    "bridge-procrustes": Method("bridge", "queries rotated into the old space", rung="procrustes"),
    "bridge-low-rank": Method("bridge", "queries through a low-rank map", rung="low-rank"),
    "bridge-mlp": Method("bridge", "queries through a residual network", rung="mlp"),
    "slerp": Method("bridge", "old query and rotated new query, half way between; asks both models", rung="slerp"),
    "rank-merge": Method("merge", "half of the gallery re-embedded, both models asked, merged by distance"),
    "psi-procrustes": _psi("orthogonal map to the influence model", "procrustes"),
    "psi-ridge": _psi("affine map to the influence model", "ridge"),
    "psi-mlp-64": _psi("residual network, 64 hidden units", "mlp", rung_settings={"hidden": 64}),
    "psi-mlp": _psi("residual network, default width", "mlp"),
    "psi-fct": _psi("deeper network without residual", "fct"),
    "psi-class": _psi("residual network, classification term", "mlp", rung_settings={"class_weight": 0.1}),
    "psi-views-1": _psi("residual network, plain images only", "mlp", views=1),
    "psi-500": _psi("residual network, at most 500 images", "mlp", images=500),
    "psi-2000": _psi("residual network, at most 2,000 images", "mlp", images=2000),
    "psi-8000": _psi("residual network, at most 8,000 images", "mlp", images=8000),
}


def find_method(name: str) -> Method:
    """A method by name; `NAME@WEIGHT` is a backward method with another backward weight.

    Raises:
        UnknownName: none of `METHODS`.
        SettingsError: no weight, or one for a method that has none.
    """
    base, at, text = name.partition("@")
    if base not in METHODS:
        raise UnknownName("method", base, METHODS)
    method = METHODS[base]
    if not at:
        return method
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    least = 1e-9 if method.target else 0.0
    if not least <= weight < math.inf or method.family != "backward":
        raise SettingsError(f"method {name!r}: expected NAME@WEIGHT with a backward method and a weight of 0 or more")
    return replace(method, new={**method.new, "backward_weight": weight})


def expand(names: list[str]) -> list[str]:
    """Names with `main`, `ablation` and the families replaced by the methods in them, each once.

    Raises:
        UnknownName: no such method or group.
    """
    groups = {key: [name for name, method in METHODS.items() if key in (method.group, method.family)] for key in GROUPS}
    groups["backward"] = [name for name in groups["backward"] if METHODS[name].group == "main"]
    found = [member for name in names for member in groups.get(name, [name])]
    for name in found:
        if name.partition("@")[0] not in METHODS:
            raise UnknownName("method or group", name, [*METHODS, *groups])
    return list(dict.fromkeys(found))


GROUPS = ("main", "ablation", "backward", "transform", "bridge", "merge")
