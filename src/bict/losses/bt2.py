"""Backward training behind a learned change of basis."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView, fit_dim
from bict.losses.influence import influence

TARGET, PROTOTYPES, OLD = 1 / 16, 10 / 16, 5 / 16


class BT2(BackwardLoss):
    """`(1 (1 - cos(z_i, t_i)) + 10 influence(u_i) + 5 (1 - cos(u_i, o_i))) / 16`, mean over the batch.

    `u` is the first dimensions, as many as the old model has, of `R z`, with an orthonormal R that is learned: so the
    new model, whose vector z itself follows the freely trained model's t (upright pictures alone have one), is free to
    choose which part of its space shall be the old one, and what is new goes into dimensions that the old model does
    not have. After training R is worked into the neck (`fold`), and `R z` is what is served.

    Zhou et al.: "BT^2: Backward-compatible Training with Basis Transformation", ICCV 2023, arXiv 2211.03989, with 32
    dimensions more than the old model and the weights 1, 10, 5 beside a classification of weight 1. Ours sum to one, as
    those of a mean, and the paper's sum is the backward weight 16. Its network joins several bases; ours is one.

    `R = exp((A - A') / sqrt(new_dim))`, the identity at the start; with the root, a step of Adam, whose size is fixed
    for each entry, is a small turn in many dimensions too.
    """

    name: ClassVar[str] = "bt2"
    weight: ClassVar[float] = 1.0
    needs_old: ClassVar[bool] = True
    needs_target: ClassVar[bool] = True
    needs_neck: ClassVar[bool] = True

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        if view.target is None:
            raise ValueError("bt2 needs the vectors of a freely trained new model")
        self.target = view.target  # no buffer: several processes would send it to each other in every step
        self.skew = nn.Parameter(torch.zeros(new_dim, new_dim))

    def basis(self) -> torch.Tensor:
        """R, `(new_dim, new_dim)`."""
        return torch.matrix_exp((self.skew - self.skew.T) / math.sqrt(self.new_dim))

    def served(self, vectors: torch.Tensor) -> torch.Tensor:
        """`R` times each vector of the training's space, `(rows, new_dim)`."""
        return vectors @ self.basis().T

    def seen(self, batch: Batch) -> torch.Tensor:
        """The new vectors in the new basis as the old space sees them, `(batch, dim)`."""
        return fit_dim(self.served(batch.new), self.dim)

    def follow(self, batch: Batch) -> torch.Tensor:
        """Mean of `1 - cos(z_i, t_i)` over the upright pictures; 0 where there is none."""
        target = self.target[batch.rows.to(self.target.device)].to(batch.new)
        cosines = (fit_dim(batch.new, target.shape[1]) * target).sum(dim=1)
        upright = batch.upright(self.classes)
        return ((1 - cosines) * upright).sum() / upright.sum().clamp(min=1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        seen = self.seen(batch)
        own = (1 - (seen * batch.old).sum(dim=1)).mean()
        classes = influence(seen, batch.labels, self.prototypes)
        return TARGET * self.follow(batch) + PROTOTYPES * classes + OLD * own

    @torch.no_grad()
    def fold(self, neck: nn.Linear) -> None:
        """Multiply R into the neck: it then gives `R z` where it gave `z`."""
        basis = self.basis()
        neck.weight.copy_(basis @ neck.weight)
        neck.bias.copy_(basis @ neck.bias)
