"""What a backward loss is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from bict.losses.batch import Batch, OldView, fit_dim


class BackwardLoss(nn.Module):
    """Pulls new vectors to where the old model's vectors are; may have weights of its own, trained with the model.

    Attributes:
        name: in the command line.
        weight: lambda where none is given.
        needs_old: whether it looks at the old vectors of a batch's own pictures; otherwise the old model need not run.
        needs_target: whether it needs the vectors of a freely trained new model.
        aligns: whether new vectors end up where the old model's are; a control does not.
        needs_neck: whether it folds into the encoder's linear neck, so that the new model must have one.
    """

    name: ClassVar[str]
    weight: ClassVar[float]
    needs_old: ClassVar[bool] = False
    needs_target: ClassVar[bool] = False
    aligns: ClassVar[bool] = True
    needs_neck: ClassVar[bool] = False
    prototypes: torch.Tensor

    def __init__(self, view: OldView, new_dim: int) -> None:
        """Take what is needed from the old model's view; new vectors have `new_dim` dimensions."""
        super().__init__()
        self.dim, self.new_dim, self.classes = view.dim, new_dim, view.classes
        self.register_buffer("prototypes", view.prototypes, persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        raise NotImplementedError

    def seen(self, batch: Batch) -> torch.Tensor:
        """The new vectors as the old space sees them, `(batch, dim)`."""
        return fit_dim(batch.new, self.dim)

    def served(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors of the training's space, `(rows, new_dim)`, as the folded model gives them."""
        return vectors

    def fold(self, neck: nn.Linear) -> None:
        """Work what is served but was trained in this module into the encoder's neck, after training."""
