"""Old vectors mixed into the new model's classification."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView, fit_dim

MIXED, KEPT = 0.3, 0.9


def credible(view: OldView) -> torch.Tensor:
    """`(images,)` whether an upright picture's old vector is among the nine tenths closest to its class's prototype."""
    cosines = view.cosines()
    found = torch.zeros_like(view.labels, dtype=torch.bool)
    for rows in view.members()[: view.classes]:
        closest = cosines[rows].topk(math.ceil(KEPT * len(rows))).indices
        found[rows[closest]] = True
    return found[view.labels < view.classes]


class MixBCT(BackwardLoss):
    """`.3 / .7 * classification(o_i, y_i)`, mean over the batch's upright pictures with a credible old vector o.

    The paper replaces 30 % of a batch's new vectors, drawn anew for each step, by credible old ones and has the
    classification loss c alone: in expectation `.7 mean c(z) + .3 mean c(o)`. Divided by .7, which Adam's steps do not
    notice, this is `mean c(z)`, our classification loss, plus `.3 / .7 mean c(o)`. So the backward weight 1 is the
    paper's method, with every credible old vector in every step instead of a draw of them.

    The loss moves the classifier alone, towards rows that tell old vectors apart as well, and the classifier moves the
    new vectors; with a frozen one it does nothing.

    Liang, Zhang, Zhang, Wang, Xiao, Xiao, Wang: "MixBCT: Towards Self-Adapting Backward-Compatible Training", 2023,
    arXiv 2308.06948. Its threshold .9 is, in its public code, the share of each class's old vectors that is kept, the
    closest to the mean; so none of a small network's classes is left without. Where the dimensions differ old vectors
    are cut or padded.
    """

    name: ClassVar[str] = "mixbct"
    weight: ClassVar[float] = 3 / 7
    needs_old: ClassVar[bool] = True
    credible: torch.Tensor

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        self.register_buffer("credible", credible(view), persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar; 0 where it has no credible old vector."""
        chosen = batch.upright(self.classes) & self.credible[batch.rows]
        if not chosen.any():
            return batch.new.new_zeros(())
        mixed = fit_dim(batch.old[chosen], self.new_dim)
        return MIXED / (1 - MIXED) * batch.classification(mixed, batch.labels[chosen])
