"""Image to vector: backbone, pooling, linear neck, unit length."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from bict.errors import SettingsError
from bict.models.backbones import build_backbone
from bict.models.pooling import build_pooling


class Encoder(nn.Module):
    """Normalised pixels `(images, channels, size, size)` to unit vectors `(images, dim)`.

    `dim` 0 leaves the neck out: the vector is the pooled feature itself, as of a published backbone used as it is.
    """

    def __init__(self, backbone: str, pooling: str, dim: int, channels: int) -> None:
        super().__init__()
        if dim < 0:
            raise SettingsError(f"dim must be 0 (no neck) or positive, found {dim}")
        self.backbone = build_backbone(backbone, channels)
        self.pooling = build_pooling(pooling)
        self.dim = dim or self.backbone.features
        self.neck = nn.Linear(self.backbone.features, dim) if dim else nn.Identity()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit vectors `(images, dim)`."""
        return functional.normalize(self.neck(self.pooling(self.backbone(pixels))), dim=1)
