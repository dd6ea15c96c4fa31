"""A control: the turned classes alone, without the old model."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView
from bict.losses.influence import influence


class Turned(BackwardLoss):
    """`influence(z, C)` with a classifier C of its own, drawn at random and trained: nothing of the old model enters.

    What a method with turned classes gains over it is due to the old model, and what it gains over a freely trained
    model is due to the turned classes.
    """

    name: ClassVar[str] = "turned"
    weight: ClassVar[float] = 3.0
    aligns: ClassVar[bool] = False

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        self.own = nn.Parameter(functional.normalize(torch.randn(len(view.prototypes), new_dim), dim=1))

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        return influence(batch.new, batch.labels, functional.normalize(self.own, dim=1))
