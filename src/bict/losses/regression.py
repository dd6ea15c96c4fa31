"""Regression backward loss."""

from __future__ import annotations

from typing import ClassVar

import torch

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch


def regression(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Squared distance to the own old vector, `||z_i - o_i||^2`, mean over the batch.

    The baseline of Shen et al., "Towards Backward-Compatible Representation Learning", CVPR 2020, arXiv 2003.11942.

    Args:
        new: `(batch, dim)` unit vectors z.
        old: `(batch, dim)` old unit vectors o of the same images.
    """
    return (new - old).square().sum(dim=1).mean()


class Regression(BackwardLoss):
    """`regression` with the old vectors of the batch's own pictures."""

    name: ClassVar[str] = "regression"
    weight: ClassVar[float] = 1.0
    needs_old: ClassVar[bool] = True

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        return regression(self.seen(batch), batch.old)
