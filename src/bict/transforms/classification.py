"""Classification of upgraded vectors under the frozen classifier of the new model: a term of a rung's loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bict.errors import TransformError
from bict.transforms.rung import Pairs

NO_LABEL = -1


class FrozenClassifier:
    """`weight` times the cross-entropy of `scale` * cos(psi(old), prototypes) against the label, plain views only.

    The other views have no label: a picture that was turned or mirrored may be none of its class any more.

    Raises:
        TransformError: the pairs have no labels or no prototypes.
    """

    def __init__(self, pairs: Pairs, *, weight: float, scale: float) -> None:
        if pairs.labels is None or pairs.prototypes is None:
            raise TransformError("class_weight above 0 needs labels and prototypes: pass both, or set it to 0")
        plain = torch.tensor(pairs.labels)
        self.weight, self.scale = weight, scale
        self.labels = torch.cat([plain, torch.full((len(plain) * (pairs.views - 1),), NO_LABEL)])
        self.prototypes = functional.normalize(torch.tensor(pairs.prototypes))

    def loss(self, mapped: Tensor, index: Tensor) -> Tensor:
        """Mean over the plain views among `(rows, new_dim)`; `index` `(rows,)` are their places in the flat pairs."""
        labels = self.labels[index]
        logits = self.scale * (functional.normalize(mapped) @ self.prototypes.T)
        total = functional.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum")
        return self.weight * total / (labels != NO_LABEL).sum().clamp(min=1)
