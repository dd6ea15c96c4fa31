"""Classification with a classifier that is never trained: the vertices of a regular simplex."""

from __future__ import annotations

import math

import torch
from pytorch_metric_learning import losses
from torch import nn
from torch.nn import functional

from bict.errors import SettingsError

Known = tuple[torch.Tensor, torch.Tensor]
CLOSE = 0.999


def vertices(dim: int) -> torch.Tensor:
    """`(dim + 1, dim)` unit rows, any two of them at the cosine `-1 / dim`; always the same ones.

    The unit vectors e_1 ... e_dim and the point of the diagonal that is as far from each as they are from one another,
    seen from their common centre.
    """
    last = torch.full((1, dim), (1 - math.sqrt(dim + 1)) / dim, dtype=torch.float64)
    corners = torch.cat([torch.eye(dim, dtype=torch.float64), last])
    return functional.normalize(corners - corners.mean(dim=0), dim=1).float()


def simplex(classes: int, dim: int, scale: float, _margin: float, known: Known | None) -> nn.Module:
    """Cross-entropy of `scale * cos(z, w)`, with frozen rows w: one of `dim + 1` vertices for each class.

    Models that are trained towards the same vertices have comparable vectors, without having seen each other. A class
    that an old model had keeps its vertex, and a class that only the old model had keeps it from all others.

    Biondi, Pernici, Bruni, Del Bimbo: "CoReS: Compatible Representations via Stationarity", TPAMI 2023; Biondi,
    Pernici, Ricci, Del Bimbo: "Stationary Representations: Optimally Approximating Compatibility and Implications for
    Improved Model Replacements", CVPR 2024, arXiv 2405.02581, with 1,024 vertices, hence vectors of 1,023 dimensions.

    Args:
        classes: how many classes are trained.
        dim: dimension of the vectors.
        scale: factor on the cosines.
        known: `(classes,)` row of each class in the old classifier, or -1, and that classifier `(old classes, dim)`.

    Raises:
        SettingsError: fewer vertices than classes, or an old classifier that is none of this dimension's simplex.
    """
    corners = vertices(dim)
    seen = torch.full((classes,), -1) if known is None else known[0]
    taken = corners.new_zeros(0, dtype=torch.long) if known is None else _vertex_of(known[1], corners)
    free = torch.ones(len(corners), dtype=torch.bool)
    free[taken] = False
    others = free.nonzero().flatten()
    wanted = int((seen < 0).sum())
    if wanted > len(others):
        raise SettingsError(
            f"simplex in {dim} dimensions has {len(corners)} vertices, {len(taken)} of them taken by an old model's "
            f"classes: {wanted} more are needed, which takes --dim {len(taken) + wanted - 1} or more, of both models"
        )
    vertex = torch.empty(classes, dtype=torch.long)
    vertex[seen >= 0] = taken[seen[seen >= 0]]
    vertex[seen < 0] = others[:wanted]
    loss: nn.Module = losses.NormalizedSoftmaxLoss(classes, dim, temperature=1 / scale)
    weight = loss.get_parameter("W").requires_grad_(False)
    weight.copy_(corners[vertex].T)
    return loss


def _vertex_of(classifier: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """`(old classes,)` which vertex each row of the old classifier is."""
    if classifier.shape[1] != corners.shape[1]:
        raise SettingsError(
            f"simplex keeps the old model's vertices, which have {classifier.shape[1]} dimensions, found "
            f"{corners.shape[1]}: add --dim {classifier.shape[1]}"
        )
    closest = (classifier @ corners.T).max(dim=1)
    if (closest.values < CLOSE).any():
        raise SettingsError(
            "simplex goes on from an old model that was trained with simplex, found another classifier: train the old "
            "model with it too, or choose another --classification"
        )
    return closest.indices
