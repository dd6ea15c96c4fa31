"""Contrastive backward loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch


def contrastive(
    new: torch.Tensor, labels: torch.Tensor, old: torch.Tensor, *, temperature: float = 0.05
) -> torch.Tensor:
    """Tell the own old vector from old vectors of other classes.

    `-log( exp(z_i o_i / t) / (exp(z_i o_i / t) + sum_{j: y_j != y_i} exp(z_i o_j / t)) )`, mean over the batch. Other
    images of the same class are left out of the denominator.

    Zhang, Ge, Shen, Li, Yuan, Shan, Wang: "Hot-Refresh Model Upgrades with Regression-Alleviating Compatible Training",
    ICLR 2022, arXiv 2201.09724, without its regression-alleviating negatives; its public code uses t = 0.01.

    Args:
        new: `(batch, dim)` unit vectors z.
        labels: `(batch,)` class indices y.
        old: `(batch, dim)` old unit vectors o of the same images.
        temperature: t.
    """
    logits = new @ old.T / temperature
    same_class = labels[:, None] == labels[None, :]
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    masked = logits.masked_fill(same_class & ~own, float("-inf"))
    return functional.cross_entropy(masked, torch.arange(len(labels), device=labels.device))


class Contrastive(BackwardLoss):
    """`contrastive` with the old vectors of the batch's own pictures."""

    name: ClassVar[str] = "contrastive"
    weight: ClassVar[float] = 1.0
    needs_old: ClassVar[bool] = True

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        return contrastive(self.seen(batch), batch.labels, batch.old)
