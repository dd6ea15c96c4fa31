"""Image to vector: backbone, pooling, linear neck, unit length."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from bict.errors import SettingsError
from bict.models.backbones import build_backbone
from bict.models.pooling import build_pooling


class Encoder(nn.Module):
    """Normalised pixels `(images, channels, size, size)` to unit vectors `(images, dim)`.

    `dim` 0 leaves the neck out: the vector is the pooled feature itself, as of a published backbone used as it is.
    With `twin`, a second neck beside the first gives `twin` more columns, of unit length by themselves.
    """

    def __init__(self, backbone: str, pooling: str, dim: int, channels: int, *, twin: int = 0) -> None:
        super().__init__()
        if dim < 0:
            raise SettingsError(f"dim must be 0 (no neck) or positive, found {dim}")
        self.backbone = build_backbone(backbone, channels)
        self.pooling = build_pooling(pooling)
        self.dim = dim or self.backbone.features
        self.neck = nn.Linear(self.backbone.features, dim) if dim else nn.Identity()
        self.twin = nn.Linear(self.backbone.features, twin) if twin else None

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit vectors `(images, dim)`; with a twin, its unit vectors in the columns after them."""
        pooled = self.pooling(self.backbone(pixels))
        vectors = functional.normalize(self.neck(pooled), dim=1)
        if self.twin is None:
            return vectors
        return torch.cat([vectors, functional.normalize(self.twin(pooled), dim=1)], dim=1)

    def split_twin(self) -> Encoder | None:
        """Take the twin off, as an encoder of its own with the same backbone; None where there is none."""
        if self.twin is None:
            return None
        other = copy.deepcopy(self)
        other.neck, other.dim = self.twin, self.twin.out_features
        other.twin, self.twin = None, None
        return other
