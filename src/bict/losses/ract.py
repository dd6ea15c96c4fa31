"""Regression-alleviating contrastive backward loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, fit_dim


def ract(
    new: torch.Tensor, labels: torch.Tensor, old: torch.Tensor, *, temperature: float = 0.05, hardest: int = 10
) -> torch.Tensor:
    """Tell the own old vector from old *and* new vectors of other classes.

    `-log( exp(z_i o_i / t) / (exp(z_i o_i / t) + sum_{j in O} exp(z_i o_j / t) + sum_{j in N} exp(z_i z_j / t)) )`,
    mean over the batch, where O and N are the `hardest` (or fewer) pictures of other classes with the highest `z_i o_j`
    and `z_i z_j`. New negatives keep a query from ranking a new wrong picture above an old right one while a gallery
    holds both.

    Zhang, Ge, Shen, Li, Yuan, Shan, Wang: "Hot-Refresh Model Upgrades with Regression-Alleviating Compatible Training",
    ICLR 2022, arXiv 2201.09724, with 10 negatives of each kind. The public code configures t = 0.01, where a softmax
    over cosines sees the one hardest negative; small networks, whose cosines are less sure, get the 0.05 of
    `contrastive`.

    Args:
        new: `(batch, new_dim)` unit vectors z; of another dimension than o, they are cut or padded for `z_i o_j`.
        labels: `(batch,)` class indices.
        old: `(batch, dim)` old unit vectors o of the same images.
        temperature: t.
        hardest: negatives of each kind.
    """
    same_class = labels[:, None] == labels[None, :]
    seen = fit_dim(new, old.shape[1])
    logits = [(seen * old).sum(dim=1, keepdim=True) / temperature]
    for cosines in (seen @ old.T, new @ new.T):
        others = (cosines / temperature).masked_fill(same_class, float("-inf"))
        logits.append(others.topk(min(hardest, len(labels)), dim=1).values)
    return functional.cross_entropy(torch.cat(logits, dim=1), torch.zeros_like(labels))


class RACT(BackwardLoss):
    """`ract` with the old vectors of the batch's own pictures."""

    name: ClassVar[str] = "ract"
    weight: ClassVar[float] = 1.0
    needs_old: ClassVar[bool] = True

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        return ract(batch.new, batch.labels, batch.old)
