"""An image set with enough classes to split in every way."""

from __future__ import annotations

import numpy as np
import pytest

from bict.data import ImageSet
from bict.data.images import ArrayPixels


@pytest.fixture(scope="session")
def some_images() -> ImageSet:
    """30 classes of 10 noise pictures."""
    labels = np.repeat([f"c{number:02d}" for number in range(30)], 10)
    ids = np.array([f"{label}/{row}" for row, label in enumerate(labels)])
    pixels = np.random.default_rng(0).integers(0, 255, (300, 16, 16), np.uint8)
    parts = np.full(300, "")
    return ImageSet("noise", "characters", ids, labels, parts, ArrayPixels(pixels, 1))
