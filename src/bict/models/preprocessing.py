"""From stored pixels to network input; part of a space's identity."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

import timm


class Preprocessing(BaseModel):
    """Image side in pixels, channels, and the per-channel mean and deviation that are taken out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=8, le=2048)
    channels: int = Field(ge=1, le=4)
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_unit(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Pixels `(images, size, size, channels)` uint8 as a float tensor `(images, channels, size, size)` in [0, 1]."""
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(255)

    def normalise(self, unit: torch.Tensor) -> torch.Tensor:
        """Take mean and deviation out of pixels in [0, 1]."""
        shape = (1, self.channels, 1, 1)
        mean = torch.tensor(self.mean, device=unit.device).view(shape)
        return (unit - mean) / torch.tensor(self.std, device=unit.device).view(shape)


def default_preprocessing(backbone: str, channels: int, size: int) -> Preprocessing:
    """What the backbone was pretrained with; zero mean and unit deviation of [0, 1] for the small ones."""
    name = backbone.removeprefix("timm:")
    if name == backbone or channels != 3:
        return Preprocessing(size=size, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    config = timm.get_pretrained_cfg(name)
    mean, std = (config.mean, config.std) if config is not None else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    if name.startswith("tf_efficientnet_lite"):
        mean, std = (0.498,) * 3, (0.502,) * 3
    return Preprocessing(size=size, channels=channels, mean=tuple(mean), std=tuple(std))
