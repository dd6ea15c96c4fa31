"""What a backward loss sees: the old model's view of the training images, and one batch of the new model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

Classification = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class OldView:
    """What is known of the old model before training; all frozen.

    Characters are also seen turned: a class turned by `q` quarters is class `q * classes + class`, of which the new
    model's classifier knows nothing.

    Attributes:
        vectors: `(pictures, dim)` old unit vectors of the new model's plain training pictures, turn after turn.
        labels: `(pictures,)` their classes.
        prototypes: `(all classes, dim)` one unit row per class, turned ones included.
        classes: how many classes the new model's classifier has.
        target: `(images, new_dim)` unit vectors that a freely trained new model gives the plain training images, or
            None.
    """

    vectors: torch.Tensor
    labels: torch.Tensor
    prototypes: torch.Tensor
    classes: int
    target: torch.Tensor | None = None

    @property
    def dim(self) -> int:
        """Dimension of the old vectors."""
        return self.prototypes.shape[1]

    def members(self) -> tuple[torch.Tensor, ...]:
        """For each class, turned ones included, the rows of its pictures in `vectors`."""
        counts = self.labels.bincount(minlength=len(self.prototypes))
        return torch.split(self.labels.argsort(stable=True), counts.tolist())

    def cosines(self) -> torch.Tensor:
        """`(pictures,)` cosine of each old vector to the prototype of its class."""
        return (self.vectors * self.prototypes[self.labels]).sum(dim=1)


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's pictures, as the new and as the old model see them.

    Attributes:
        new: `(batch, new_dim)` unit vectors of the model being trained.
        labels: `(batch,)` classes, turned ones included.
        old: `(batch, dim)` old unit vectors of the same augmented pictures; `(0, dim)` for a loss that does not ask.
        rows: `(batch,)` which training image each is.
        classification: the new model's classification loss, of vectors `(n, new_dim)` and upright classes `(n,)`.
        classifier: `(classes, new_dim)` unit rows of the new model's classifier.
        progress: part of the training that is done, 0 to 1.
    """

    new: torch.Tensor
    labels: torch.Tensor
    old: torch.Tensor
    rows: torch.Tensor
    classification: Classification
    classifier: torch.Tensor
    progress: float

    def upright(self, classes: int) -> torch.Tensor:
        """`(batch,)` which pictures are not turned: they are of the classifier's own `classes`."""
        return self.labels < classes


def fit_dim(vectors: torch.Tensor, dim: int) -> torch.Tensor:
    """Unit vectors `(rows, any)` as `(rows, dim)`: cut or filled up with zeros, then unit length again.

    So a new model may have more dimensions than the old one (the old vectors lie in its first ones) or fewer.
    """
    found = vectors.shape[1]
    if found == dim:
        return vectors
    if found < dim:
        return functional.pad(vectors, (0, dim - found))
    return functional.normalize(vectors[:, :dim], dim=1)
