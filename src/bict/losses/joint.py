"""Joint training: the forward transform is trained together with the new model, under one classifier."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView, fit_dim
from bict.losses.influence import influence

WIDEST = 1024


class Psi(nn.Module):
    """`psi(o) = o W + b + gelu(o W1 + b1) W2`, the identity at the start."""

    def __init__(self, old_dim: int, new_dim: int) -> None:
        super().__init__()
        hidden = min(8 * max(old_dim, new_dim), WIDEST)
        self.straight = nn.Linear(old_dim, new_dim)
        self.inner = nn.Linear(old_dim, hidden)
        self.outer = nn.Linear(hidden, new_dim, bias=False)
        nn.init.eye_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)
        nn.init.normal_(self.inner.weight, std=3 / old_dim**0.5)
        nn.init.zeros_(self.inner.bias)
        nn.init.zeros_(self.outer.weight)

    def forward(self, old: torch.Tensor) -> torch.Tensor:
        """Unit vectors `(rows, new_dim)`."""
        mapped: torch.Tensor = self.straight(old) + self.outer(functional.gelu(self.inner(old)))
        return functional.normalize(mapped, dim=1)


class Joint(BackwardLoss):
    """`influence(z, C) + influence(psi(o), C)`: new and transformed old vectors share one classifier C.

    C has a row for every class, turned ones included, starts at the mean old vectors and is trained, as psi is. So
    the two spaces meet where both can tell the classes apart, and not where the old model happened to put them. The
    psi that is trained here is thrown away: the forward transform is fitted anew towards the finished model, which
    found more. Ours.
    """

    name: ClassVar[str] = "joint"
    weight: ClassVar[float] = 6.0
    needs_old: ClassVar[bool] = True

    def __init__(self, view: OldView, new_dim: int) -> None:
        super().__init__(view, new_dim)
        self.psi = Psi(view.dim, new_dim)
        self.shared = nn.Parameter(fit_dim(view.prototypes, new_dim).clone())

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        shared = functional.normalize(self.shared, dim=1)
        return influence(batch.new, batch.labels, shared) + influence(self.psi(batch.old), batch.labels, shared)
