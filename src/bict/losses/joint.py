"""Joint training: the forward transform is trained together with the new model, each pulled towards the other."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView


class Psi(nn.Module):
    """`psi(o) = o W + gelu(o W1 + b1) W2`, with W an identity and W2 zero at the start."""

    def __init__(self, old_dim: int, new_dim: int) -> None:
        super().__init__()
        self.straight = nn.Linear(old_dim, new_dim)
        self.inner = nn.Linear(old_dim, 4 * max(old_dim, new_dim))
        self.outer = nn.Linear(4 * max(old_dim, new_dim), new_dim, bias=False)
        nn.init.eye_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)
        nn.init.zeros_(self.outer.weight)

    def forward(self, old: torch.Tensor) -> torch.Tensor:
        """Unit vectors `(rows, new_dim)`."""
        mapped = self.straight(old) + self.outer(functional.gelu(self.inner(old)))
        return functional.normalize(mapped, dim=1)


class Joint(BackwardLoss):
    """`1 - cos(z_i, psi(o_i))`, mean over the batch, with gradients to the new model *and* to psi.

    So the new model prefers, of all spaces that classify equally well, one that can be reached from the old one. The
    psi trained here is thrown away: the forward transform is fitted anew towards the finished model. Ours; the
    weight is the backward weight.
    """

    name: ClassVar[str] = "joint"
    needs_old: ClassVar[bool] = True

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        self.psi = Psi(view.dim, new_dim)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        mapped: torch.Tensor = self.psi(batch.old)
        return (1 - (batch.new * mapped).sum(dim=1)).mean()
