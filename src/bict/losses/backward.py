"""Backward losses by name: each pulls new vectors to where the old model's vectors are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bict.errors import UnknownName
from bict.losses.contrastive import contrastive
from bict.losses.influence import influence
from bict.losses.regression import regression


@dataclass(frozen=True, eq=False)
class OldView:
    """What a backward loss may know of the old model.

    Attributes:
        vectors: `(batch, dim)` old unit vectors of the same images.
        prototypes: `(classes, dim)` one unit row per training class: the old classifier's, or the mean of the class's
            old vectors.
    """

    vectors: torch.Tensor
    prototypes: torch.Tensor


BackwardLoss = Callable[[torch.Tensor, torch.Tensor, OldView], torch.Tensor]

BACKWARD_LOSSES: dict[str, BackwardLoss] = {
    "influence": lambda new, labels, old: influence(new, labels, old.prototypes),
    "contrastive": lambda new, labels, old: contrastive(new, labels, old.vectors),
    "regression": lambda new, _labels, old: regression(new, old.vectors),
}
NEEDS_OLD_VECTORS = frozenset({"contrastive", "regression"})
"""The losses that look at old vectors of the batch's own pictures; for the others the old model need not run."""


def backward_loss(name: str) -> BackwardLoss:
    """A backward loss by name: called with new vectors `(batch, dim)`, labels `(batch,)` and the old view.

    Raises:
        UnknownName: none of `BACKWARD_LOSSES`.
    """
    if name not in BACKWARD_LOSSES:
        raise UnknownName("backward loss", name, BACKWARD_LOSSES)
    return BACKWARD_LOSSES[name]
