"""Pooling: feature maps `(images, features, h, w)` to `(images, features)`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from bict.errors import UnknownName


class GeM(nn.Module):
    """Generalised mean, `(mean x^p)^(1/p)` with p = 3.

    Radenovic, Tolias, Chum: "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019, which used p = 3.
    """

    def __init__(self, power: float = 3.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Pooled features `(images, features)`."""
        return maps.clamp(min=1e-6).pow(self.power).mean(dim=(2, 3)).pow(1 / self.power)


class Average(nn.Module):
    """Mean over all places."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Pooled features `(images, features)`."""
        return maps.mean(dim=(2, 3))


POOLINGS: dict[str, Callable[[], nn.Module]] = {"gem": GeM, "average": Average}


def build_pooling(name: str) -> nn.Module:
    """A pooling by name.

    Raises:
        UnknownName: none of `POOLINGS`.
    """
    if name not in POOLINGS:
        raise UnknownName("pooling", name, POOLINGS)
    return POOLINGS[name]()
