"""The old model's share as the public code of the hot-refresh paper draws it, with its fixed seeds.

Zhang et al., "Hot-Refresh Model Upgrades with Regression-Alleviating Compatible Training", ICLR 2022,
arXiv 2201.09724, whose code used a share of 0.3, rounded down.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

SEED = 666
FEW = 4


def published_classes(classes: int, share: float) -> NDArray[np.int64]:
    """Numbers of the classes that the old model sees: the first of `classes` numbers, shuffled with seed 666."""
    return _shuffled(classes, SEED)[: max(2, int(classes * share))]


def published_images(images: int, number: int, share: float) -> NDArray[np.int64]:
    """Which images of class `number` the old model sees: the first, shuffled with seed 666 + the class's number.

    Of fewer than 4 images it sees the one that is listed first.
    """
    if images < FEW:
        return np.arange(1)
    return _shuffled(images, SEED + number)[: max(1, int(images * share))]


def in_number_order(name: str) -> tuple[int, str]:
    """Sort key of class names: names of digits by value, before all others."""
    return (int(name) if name.isdecimal() else sys.maxsize, name)


def _shuffled(count: int, seed: int) -> NDArray[np.int64]:
    """The numbers below `count` in the order of `numpy.random.seed(seed)` and `numpy.random.shuffle`."""
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    return order
