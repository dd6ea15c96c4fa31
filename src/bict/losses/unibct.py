"""Influence of prototypes that were refined by the structure of their class."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView
from bict.losses.influence import influence


def refine(
    old: torch.Tensor, neighbours: torch.Tensor, *, smoothing: float = 0.9, temperature: float = 0.05
) -> torch.Tensor:
    """One class's prototype `(dim,)`, unit length: the mean of its old vectors, each smoothed over its neighbours.

    `p = mean over rows of (1 - l) (I - l S)^-1 O`, with `S = softmax over each row of v_i v_j / T`, `S_ii` = 0. A row
    of S sums to one, so that smoothing averages, and vectors with many neighbours count more than stray ones. (A
    softmax over the columns, as in a public re-implementation, gives the plain mean back.) Only the mean is needed: it
    costs one linear system for each class.

    Zhang, Ge, Shen, Su, Wu, Yuan, Xu, Wang, Shan: "Towards Universal Backward-Compatible Representation Learning",
    IJCAI 2022, arXiv 2203.01583, with l = 0.9 and T = 0.05.

    Args:
        old: `(pictures, dim)` old unit vectors O of one class.
        neighbours: `(pictures, any)` unit vectors v of the same pictures, that say which are alike.
        smoothing: l.
        temperature: T.
    """
    affinity = (neighbours @ neighbours.T / temperature).fill_diagonal_(torch.finfo(old.dtype).min)
    walk = affinity.softmax(dim=1)
    rest = torch.eye(len(old), dtype=old.dtype, device=old.device) - smoothing * walk.T
    shares = torch.linalg.solve(rest, old.new_full((len(old),), (1 - smoothing) / len(old)))
    return functional.normalize(shares @ old, dim=0)


class UniBCT(BackwardLoss):
    """`influence` with prototypes that `refine` made, once, before training.

    Which pictures are alike the paper asks the new model, before training there is none: the freely trained new model
    says it where there is one (for upright pictures, the only ones it was shown), else the old vectors do. The paper's
    classification of new vectors is ArcFace; ours is that of `influence`, without a margin.
    """

    name: ClassVar[str] = "unibct"
    weight: ClassVar[float] = 3.0

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        refined = []
        for number, rows in enumerate(view.members()):
            asked = view.vectors if view.target is None or number >= view.classes else view.target
            refined.append(refine(view.vectors[rows], asked[rows]))
        self.prototypes = torch.stack(refined)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        return influence(self.seen(batch), batch.labels, self.prototypes)
