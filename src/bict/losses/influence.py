"""Influence loss of backward-compatible training."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch


def influence(
    new: torch.Tensor, labels: torch.Tensor, prototypes: torch.Tensor, *, scale: float = 12.0
) -> torch.Tensor:
    """Classify new vectors with the frozen old classifier: `-log softmax(scale * z P')[label]`, mean over the batch.

    Shen, Xiong, Xia, Soatto: "Towards Backward-Compatible Representation Learning", CVPR 2020, arXiv 2003.11942,
    which used the old classifier, and mean old vectors for classes the old model never saw. Mean old vectors for
    *every* class, which is how a gallery's vectors lie, are the default here.

    Args:
        new: `(batch, dim)` unit vectors z of the model being trained.
        labels: `(batch,)` class indices.
        prototypes: `(classes, dim)` unit rows P, frozen.
        scale: factor on the cosines; below the classification's, so that the softmax is satisfied later and new
            vectors go on moving towards their prototypes.
    """
    return functional.cross_entropy(scale * new @ prototypes.T, labels)


class Influence(BackwardLoss):
    """`influence` with the old view's prototypes."""

    name: ClassVar[str] = "influence"
    weight: ClassVar[float] = 3.0

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        return influence(self.seen(batch), batch.labels, self.prototypes)


def old_prototypes(
    classifier: torch.Tensor, seen: torch.Tensor, vectors: torch.Tensor, labels: torch.Tensor, classes: int
) -> torch.Tensor:
    """One unit row per class, `(classes, dim)`: the old classifier's for seen classes, else the mean old vector.

    Args:
        classifier: `(old classes, dim)` unit rows of the frozen old classifier.
        seen: `(classes,)` row of the class in the old classifier, or -1 for a class the old model never saw.
        vectors: `(images, dim)` old unit vectors of the new model's training images.
        labels: `(images,)` class indices of those images.
        classes: number of classes.
    """
    sums = vectors.new_zeros(classes, vectors.shape[1]).index_add_(0, labels, vectors)
    means = functional.normalize(sums, dim=1)
    return torch.where((seen >= 0)[:, None], classifier[seen.clamp(min=0)], means)
