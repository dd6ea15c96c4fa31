"""Turned characters: pictures of classes that nobody was trained on, which the backward loss alone looks at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bict.data.images import ImageSet
from bict.models import Model
from bict.models.embed import encode

TURNS = 4
BATCH = 512


def turn(unit: torch.Tensor, quarters: torch.Tensor) -> torch.Tensor:
    """Pixels `(images, channels, size, size)`, each image turned by its own number of quarters `(images,)`."""
    turned = unit.clone()
    for quarter in range(1, TURNS):
        chosen = quarters == quarter
        turned[chosen] = torch.rot90(unit[chosen], quarter, dims=(2, 3))
    return turned


def draw_quarters(images: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Quarters `(images,)`: 1, 2 or 3 for the first `share` of the images, 0 for the others."""
    quarters = torch.zeros(images, dtype=torch.long)
    count = int(images * share)
    quarters[:count] = torch.randint(1, TURNS, (count,), generator=generator)
    return quarters


def embed_turned(model: Model, images: ImageSet, quarter: int) -> NDArray[np.float32]:
    """Vectors `(images, dim)` of all images turned by one number of quarters."""
    encoder, preprocessing = model.encoder.eval(), model.card.preprocessing
    parts = [np.zeros((0, model.space.dim), np.float32)]
    for start in range(0, len(images), BATCH):
        rows = np.arange(start, min(start + BATCH, len(images)))
        pixels = images.pixels(rows, preprocessing.size, preprocessing.channels)
        parts.append(encode(model, encoder, np.rot90(pixels, quarter, axes=(1, 2)).copy()))
    return np.concatenate(parts)
