"""The old model as a backward loss sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bict.data.images import ImageSet
from bict.losses import OldView, old_prototypes
from bict.models import Model, embed_images
from bict.training.settings import TrainSettings
from bict.training.turned import TURNS, embed_turned


@dataclass(frozen=True, eq=False)
class Backward:
    """The frozen old model, and what was seen of it before training."""

    model: Model
    view: OldView

    @property
    def turns(self) -> int:
        """Numbers of quarter turns that have classes; 1 where pictures are not turned."""
        return len(self.view.prototypes) // self.view.classes


def look_at(
    old: Model, images: ImageSet, classes: NDArray[Any], settings: TrainSettings, target: Model | None = None
) -> Backward:
    """One frozen row per class of the new model: mean old vectors, or the old classifier filled up with them.

    Characters also get rows for each class turned by one, two and three quarters: mean old vectors, always.

    Args:
        old: the old model.
        images: training images of the new model.
        classes: `(classes,)` sorted names of its classes.
        settings: of the new model's training.
        target: a freely trained new model, for the losses that need one.
    """
    wanted = settings.augment and settings.turned > 0 and settings.weight > 0
    turns = TURNS if wanted and images.kind == "characters" else 1
    labels = torch.from_numpy(np.searchsorted(classes, images.labels.astype(str)))
    parts = [embed_images(old, images).vectors, *(embed_turned(old, images, quarter) for quarter in range(1, turns))]
    vectors = [torch.from_numpy(part) for part in parts]
    head, seen = _head(old, classes, settings)
    nobody = torch.full_like(seen, -1)
    prototypes = [
        old_prototypes(head, nobody if quarter else seen, part, labels, len(classes))
        for quarter, part in enumerate(vectors)
    ]
    view = OldView(
        vectors=torch.cat(vectors),
        labels=torch.cat([labels + quarter * len(classes) for quarter in range(turns)]),
        prototypes=torch.cat(prototypes),
        classes=len(classes),
        target=None if target is None else torch.from_numpy(embed_images(target, images).vectors),
    )
    return Backward(old, view)


def rows_in(old: Model, classes: NDArray[Any]) -> torch.Tensor:
    """`(classes,)` row of each class in an old model's classifier, or -1."""
    known = {name: row for row, name in enumerate(old.card.classes)} if old.classifier is not None else {}
    return torch.tensor([known.get(name, -1) for name in classes.tolist()])


def _head(old: Model, classes: NDArray[Any], settings: TrainSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """The old classifier and the row of each class in it; no row where means are wanted."""
    if settings.prototypes == "classifier" and old.classifier is not None:
        return old.classifier, rows_in(old, classes)
    return torch.zeros(1, old.space.dim), torch.full((len(classes),), -1)
