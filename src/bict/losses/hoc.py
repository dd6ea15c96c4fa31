"""Higher-order contrastive loss between the new and the old vector of an image."""

from __future__ import annotations

from typing import ClassVar

import torch

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch
from bict.losses.contrastive import contrastive

CONCENTRATION = 10.0


class HOC(BackwardLoss):
    """`-log( exp(m o_i z_i) / (exp(m o_i z_i) + sum_{j: y_j != y_i} exp(m o_i z_j)) )`, m = 10, mean over the batch.

    `contrastive` with the sides changed: each old vector tells its own new vector from new vectors of other classes.

    Biondi, Pernici, Ricci, Del Bimbo: "Stationary Representations: Optimally Approximating Compatibility and
    Implications for Improved Model Replacements", CVPR 2024, arXiv 2405.02581, together with a frozen classifier
    (`simplex`). The paper's mix of .1 cross-entropy and .9 of this loss is the backward weight 9. Its public code
    multiplies the cosines of a class, the own pair's too, by zero, so that each adds exp(0) to the sum; here they are
    left out, and the own pair stays in.
    """

    name: ClassVar[str] = "hoc"
    weight: ClassVar[float] = 9.0
    needs_old: ClassVar[bool] = True

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        return contrastive(batch.old, batch.labels, self.seen(batch), temperature=1 / CONCENTRATION)
