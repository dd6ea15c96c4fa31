"""Class centres and boundaries of the old model."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView, fit_dim

ALIGNMENT, BOUNDARY = 100.0, 1.0


def boundaries(view: OldView) -> torch.Tensor:
    """`(all classes,)` the lowest cosine between a prototype and an old vector of its class."""
    return view.prototypes.new_ones(len(view.prototypes)).scatter_reduce(0, view.labels, view.cosines(), "amin")


class LCE(BackwardLoss):
    """`100 * mean over c and dimensions of (w_c - p_c)^2 + mean over i of max(0, r_{y_i} - cos(z_i, p_{y_i}))`.

    The new classifier's rows w shall lie where the old model's class centres p do, and each new vector z at least as
    close to the centre of its class as the old vector farthest from it, at the cosine r. Turned pictures have a centre
    and a boundary, and no row of the classifier.

    Meng, Zhang, Xu, Zhou: "Learning Compatible Embeddings", ICCV 2021, arXiv 2108.01958, without its optional
    transforms; the weights 100 and 1 and the lowest cosine as r are those of its public code. A new vector or row of
    another dimension than p is cut or padded.
    """

    name: ClassVar[str] = "lce"
    weight: ClassVar[float] = 1.0
    boundaries: torch.Tensor

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        self.register_buffer("boundaries", boundaries(view), persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        rows = fit_dim(batch.classifier, self.dim)
        alignment = functional.mse_loss(rows, self.prototypes[: self.classes])
        cosines = (self.seen(batch) * self.prototypes[batch.labels]).sum(dim=1)
        boundary = (self.boundaries[batch.labels] - cosines).relu().mean()
        return ALIGNMENT * alignment + BOUNDARY * boundary
