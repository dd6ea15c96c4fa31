"""Fit pairs: old and new vectors of the same training images, plain and in augmented views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bict.data.images import ImageSet
from bict.errors import DataError, SettingsError
from bict.models import Model
from bict.models.embed import encode
from bict.progress import Progress, silent
from bict.training.augment import PAIR_AUGMENTATIONS, augment
from bict.training.picture import shown_to
from bict.transforms import Pairs

VIEWS = 7


def embed_pairs(
    old: Model, new: Model, images: ImageSet, *, views: int = VIEWS, seed: int = 0, progress: Progress = silent
) -> Pairs:
    """Pairs `(views, images, dim)` on both sides: view 0 is the plain image, each other one is augmented on its own.

    View 0 is what `embed_images` gives, each model reading the image at its own size. In the other views both models
    see the same augmented picture, drawn at the larger of the two sizes.

    Raises:
        SettingsError: fewer than one view.
        DataError: no images.
    """
    old_side, new_side = embed_views((old, new), images, views=views, seed=seed, progress=progress)
    return pairs_of(old_side, new_side, new, images)


def pairs_of(old_side: NDArray[np.float32], new_side: NDArray[np.float32], new: Model, images: ImageSet) -> Pairs:
    """Pairs from views `(views, images, dim)` of both models, with the new model's classifier where it fits."""
    labels = _class_rows(new, images)
    prototypes = None if labels is None or new.classifier is None else new.classifier.cpu().numpy()
    labels = np.unique(images.labels, return_inverse=True)[1] if labels is None else labels
    return Pairs(old_side, new_side, labels, prototypes)


def embed_views(
    models: Sequence[Model], images: ImageSet, *, views: int = VIEWS, seed: int = 0, progress: Progress = silent
) -> list[NDArray[np.float32]]:
    """Vectors `(views, images, dim)` of each model, of the same pictures; see `embed_pairs`.

    Separate calls with the same seed change each picture in the same way, so models may be embedded one by one; each
    picture is then drawn at the size of that call's models.

    Raises:
        SettingsError: fewer than one view.
        DataError: no images.
    """
    if views < 1:
        raise SettingsError(f"views must be at least 1 (the plain image), found {views}")
    if not len(images):
        raise DataError("no training images to embed: the transform needs some to be fitted on")
    batch = 512 if images.kind == "characters" else 16
    generator = torch.Generator().manual_seed(seed)
    sides: list[list[NDArray[np.float32]]] = [[] for _ in models]
    for start in range(0, len(images), batch):
        rows = np.arange(start, min(start + batch, len(images)))
        for side, vectors in zip(sides, _embed_batch(models, images, rows, views, generator), strict=True):
            side.append(vectors)
        progress(int(rows[-1]) + 1, len(images))
    return [np.concatenate(side, axis=1) for side in sides]


def _embed_batch(
    models: Sequence[Model], images: ImageSet, rows: NDArray[np.int64], views: int, generator: torch.Generator
) -> list[NDArray[np.float32]]:
    """Vectors `(views, rows, dim)` of each model."""
    shapes = [(model.card.preprocessing.size, model.card.preprocessing.channels) for model in models]
    largest = (max(size for size, _ in shapes), max(channels for _, channels in shapes))
    pixels = {shape: images.pixels(rows, *shape) for shape in {*shapes, largest}}
    unit = models[0].card.preprocessing.to_unit(pixels[largest])
    augmented = [augment(unit, PAIR_AUGMENTATIONS[images.kind], generator) for _ in range(views - 1)]
    return [
        np.stack([_embed_plain(model, pixels[shape]), *(_embed_augmented(model, view) for view in augmented)])
        for model, shape in zip(models, shapes, strict=True)
    ]


def _embed_plain(model: Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return encode(model, model.encoder.to(_device()).eval(), pixels)


def _embed_augmented(model: Model, unit: torch.Tensor) -> NDArray[np.float32]:
    preprocessing = model.card.preprocessing
    with torch.inference_mode():
        shown = shown_to(preprocessing, unit.to(_device()))
        vectors = model.encoder.to(_device()).eval()(preprocessing.normalise(shown))
    return np.asarray(vectors.float().cpu().numpy())


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _class_rows(new: Model, images: ImageSet) -> NDArray[np.int64] | None:
    """Row of each image's class in the new model's classifier, or None where the model does not know every class."""
    known = {name: row for row, name in enumerate(new.card.classes)}
    names = images.labels.astype(str).tolist()
    if not set(names) <= set(known):
        return None
    return np.array([known[name] for name in names])
