"""From stored pixels to network input; part of a space's identity."""

from __future__ import annotations

from typing import Literal

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bict.errors import SettingsError
from bict.models.backbones import require_timm_name

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocessing(BaseModel):
    """Image side in pixels, channels, and the per-channel mean and deviation that are taken out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=8, le=2048)
    channels: Literal[1, 3]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Preprocessing:
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise ValueError(f"mean and std need {self.channels} values, those of std positive")
        return self

    def to_unit(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Pixels `(images, size, size, channels)` uint8 as floats in [0, 1], `(images, channels, size, size)`."""
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(255)

    def normalise(self, unit: torch.Tensor) -> torch.Tensor:
        """Take mean and deviation out of pixels in [0, 1]."""
        shape = (1, self.channels, 1, 1)
        mean = torch.tensor(self.mean, device=unit.device).view(shape)
        return (unit - mean) / torch.tensor(self.std, device=unit.device).view(shape)


def default_preprocessing(backbone: str, channels: int, size: int) -> Preprocessing:
    """What the backbone was pretrained with; zero mean and unit deviation of [0, 1] for the small ones.

    Raises:
        UnknownName: a backbone `timm:NAME` that timm does not know.
        SettingsError: a size or a number of channels that cannot be used.
    """
    name = backbone.removeprefix("timm:")
    mean, std = (0.0,) * channels, (1.0,) * channels
    if name != backbone:
        require_timm_name(name)
    if name != backbone and channels == 3:
        config = timm.get_pretrained_cfg(name)
        mean, std = (config.mean, config.std) if config is not None else (IMAGENET_MEAN, IMAGENET_STD)
        if name.startswith("tf_efficientnet_lite"):
            mean, std = (0.498,) * 3, (0.502,) * 3
    try:
        return Preprocessing.model_validate({"size": size, "channels": channels, "mean": mean, "std": std})
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingsError(f"image {problem['loc'][0]} = {problem['input']}: {problem['msg'].lower()}") from error
