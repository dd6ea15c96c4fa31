"""Twin heads: a second head on the new model's trunk speaks the old space, the main head stays free for its own."""

from __future__ import annotations

from typing import ClassVar

import torch

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch
from bict.losses.influence import influence
from bict.losses.regression import regression


class Twin(BackwardLoss):
    """`influence(z) + (influence(t) + ||t - o||^2) / 2`, with the second head's vector t.

    The main head is trained as by `influence`. Where old vectors are kept beside the upgraded ones, `t` against the
    kept old vector adds to `z` against the upgraded one: one image read, two scores. Ours.
    """

    name: ClassVar[str] = "twin"
    weight: ClassVar[float] = 1.0
    needs_old: ClassVar[bool] = True
    needs_twin: ClassVar[bool] = True

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        if batch.twin is None:
            raise ValueError("the twin loss needs the second head's vectors")
        second = influence(batch.twin, batch.labels, self.prototypes) + regression(batch.twin, batch.old)
        return influence(self.seen(batch), batch.labels, self.prototypes) + second / 2
