"""One picture for two models: each sees it at its own size and in its own channels."""

from __future__ import annotations

import torch
from torch.nn import functional

from bict.models import Preprocessing

LUMA = (0.299, 0.587, 0.114)


def shown_to(preprocessing: Preprocessing, unit: torch.Tensor) -> torch.Tensor:
    """Pixels `(images, channels, size, size)` in [0, 1], resampled and turned grey or RGB as the model needs them.

    RGB becomes grey by the luma weights of ITU-R 601, as Pillow does it when a photo is read as grey.
    """
    if preprocessing.channels == 1 and unit.shape[1] == 3:
        unit = (unit * unit.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    if preprocessing.channels == 3 and unit.shape[1] == 1:
        unit = unit.expand(-1, 3, -1, -1)
    if unit.shape[-1] != preprocessing.size:
        unit = functional.interpolate(unit, (preprocessing.size,) * 2, mode="bilinear", antialias=True)
    return unit.contiguous(memory_format=torch.channels_last)
