"""Every setting of a training run, with its default and its limits: the one source of defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bict.errors import SettingsError
from bict.losses import BACKWARD_LOSSES, CLASSIFICATION_LOSSES, find_backward_loss


class TrainSettings(BaseModel):
    """How one model is trained: total loss = classification + backward_weight * backward loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field("conv-base", description="conv-small, conv-base, conv-wide, conv-large, or timm:NAME")
    pooling: str = Field("gem", description="gem or average")
    dim: int = Field(128, ge=0, description="dimension of the vectors; 0 uses the pooled features without a neck")
    size: int = Field(0, ge=0, description="image side in pixels; 0 takes the data's own")
    weights: str = Field("auto", description="start from: auto, none, hub, packaged, or a safetensors file")
    classification: str = Field("cosface", description=f"one of {', '.join(CLASSIFICATION_LOSSES)}")
    scale: float = Field(24.0, gt=0, description="factor on cosines before the softmax")
    margin: float = Field(0.2, ge=0, lt=1.5, description="margin of cosface (cosine) or arcface (radians)")
    backward_loss: str = Field("joint", description=f"one of {', '.join(BACKWARD_LOSSES)}")
    backward_weight: float | None = Field(
        None, ge=0, description="lambda, weight of the backward loss (default: its own, such as 6 for joint)"
    )
    prototypes: Literal["means", "classifier"] = Field(
        "means",
        description="frozen rows of the influence loss: the mean old vector of every class, or the old classifier's "
        "rows and mean old vectors for the classes it never saw",
    )
    turned: float = Field(
        0.5,
        ge=0,
        le=0.9,
        description="share of each batch of characters that is turned by quarters, for the backward loss alone: "
        "pictures of classes that no model was trained on, as the gallery's are",
    )
    other_dim: bool = Field(
        False,
        description="let the new model have another dimension than the old one, whose vectors count as the first ones",
    )
    epochs: int = Field(12, ge=0, description="passes over the training images")
    batch_size: int = Field(128, ge=2, description="images per step")
    learning_rate: float = Field(
        0.0, ge=0, description="peak of the one-cycle schedule; 0 takes 0.012 for conv-*, 0.0005 for timm:*"
    )
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="adamw, or sgd with Nesterov momentum .9")
    weight_decay: float = Field(0.05, ge=0, description="of the optimiser")
    warm_up: float = Field(0.15, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    augment: bool = Field(True, description="change the training images at random")
    seed: int = Field(0, ge=0, lt=2**31, description="of weights, order and augmentation")

    @model_validator(mode="before")
    @classmethod
    def _own_weight(cls, values: dict[str, Any]) -> dict[str, Any]:
        """No weight is the loss's own, which so stands in every record."""
        loss = find_backward_loss(values.get("backward_loss", cls.model_fields["backward_loss"].default))
        given = values.get("backward_weight")
        return {**values, "backward_weight": loss.weight if given is None else given}

    @property
    def weight(self) -> float:
        """Lambda: the weight that was asked for, or the backward loss's own."""
        return float(self.backward_weight or 0)

    @property
    def peak(self) -> float:
        """The highest learning rate: the one asked for, or what suits the backbone."""
        return self.learning_rate or (5e-4 if self.backbone.startswith("timm:") else 1.2e-2)


def train_settings(**values: object) -> TrainSettings:
    """Checked settings.

    Raises:
        SettingsError: a value out of its limits.
    """
    try:
        return TrainSettings.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingsError(f"{problem['loc'][0]} = {problem['input']!r}: {problem['msg'].lower()}") from error
