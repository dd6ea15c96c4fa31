"""Adversarial backward loss with an elastic boundary."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView

HIDDEN = 100


def radii(view: OldView) -> torch.Tensor:
    """`(all classes,)` the largest distance of an old vector to the prototype of its class, without outliers.

    An outlier lies farther than the third quartile plus 1.5 times the distance between first and third.
    """
    distances = torch.linalg.vector_norm(view.vectors - view.prototypes[view.labels], dim=1)
    found = []
    for rows in view.members():
        own = distances[rows]
        first, third = own.quantile(0.25), own.quantile(0.75)
        found.append(own[own <= third + 1.5 * (third - first)].max())
    return torch.stack(found)


def reverse(vectors: torch.Tensor, strength: float) -> torch.Tensor:
    """The same vectors, whose gradient comes back times `-strength`."""
    return (1 + strength) * vectors.detach() - strength * vectors


class AdvBCT(BackwardLoss):
    """`(1 - p) A + mean of (|z_i - P_{y_i}| - r'_{y_i}) where above 0`, p the part of the training that is done.

    `A = mean -log D(z_i)[new] + mean -log D(o_i)[old]`: a discriminator D (dim-100-2) learns to tell new from old
    vectors, and the new model, whose gradient of A is reversed and multiplied by `2 / (1 + exp(-10 p)) - 1`, learns to
    leave it nothing to tell. `r'_c = r_c + (1 - r_c) sigmoid(s_c)`: from the radius r_c of the old class towards 1, as
    far as the learned s_c says, 0 at the start.

    Pan et al.: "Boundary-Aware Backward-Compatible Representation via Adversarial Learning in Image Retrieval", CVPR
    2023, arXiv 2305.02610. Unlike in its public code, centres are the unit prototypes; D sees coordinates of unit size
    (vectors times sqrt(dim), a factor that the gradient towards the model leaves out: with it the model collapses at
    weight 1), and has no batch normalisation, which would hide from it where the two spaces differ most, in mean and
    variance.
    """

    name: ClassVar[str] = "advbct"
    weight: ClassVar[float] = 1.0
    needs_old: ClassVar[bool] = True
    radii: torch.Tensor

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        self.register_buffer("radii", radii(view), persistent=False)
        self.shift = nn.Parameter(torch.zeros_like(self.radii))
        self.discriminator = nn.Sequential(nn.Linear(view.dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))

    def adversarial(self, seen: torch.Tensor, old: torch.Tensor, progress: float) -> torch.Tensor:
        """`A` of new vectors as the old space sees them and old vectors, both `(batch, dim)`."""
        strength = 2 / (1 + math.exp(-10 * progress)) - 1
        sides = torch.cat([reverse(seen, strength / math.sqrt(self.dim)), old]) * math.sqrt(self.dim)
        is_old = torch.arange(len(sides), device=sides.device) >= len(seen)
        logits: torch.Tensor = self.discriminator(sides)
        return 2 * functional.cross_entropy(logits, is_old.long())

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        seen, radius = self.seen(batch), self.radii + (1 - self.radii) * self.shift.sigmoid()
        distances: torch.Tensor = torch.linalg.vector_norm(seen - self.prototypes[batch.labels], dim=1)
        outside = (distances - radius[batch.labels]).relu()
        boundary = outside.sum() / (outside > 0).sum().clamp(min=1)
        return (1 - batch.progress) * self.adversarial(seen, batch.old, batch.progress) + boundary
