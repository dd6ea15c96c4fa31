"""Which images a rung is fitted on and which it is judged on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bict.errors import SettingsError, TransformError


def held_out_classes(labels: NDArray[np.int64], share: float, *, seed: int) -> NDArray[np.int64]:
    """Class indices to judge on, drawn from the classes with two images or more; at least two of them.

    Args:
        labels: `(images,)` class indices.
        share: part of all classes to hold out, between 0 and 1.
        seed: of the draw.

    Raises:
        SettingsError: the share is not between 0 and 1.
        TransformError: fewer than two classes have two images, or no class would be left to fit on.
    """
    _check_share(share)
    classes, counts = np.unique(labels, return_counts=True)
    eligible = classes[counts >= 2]
    if len(eligible) < 2 or len(classes) < 3:
        raise TransformError(
            f"choosing a rung needs 2 classes with 2 images to judge on and 1 more to fit on, found {len(classes)} "
            f"classes, {len(eligible)} of them with 2 images: pass pairs of more classes, or pairs without labels"
        )
    number = min(max(round(share * len(classes)), 2), len(eligible), len(classes) - 1)
    return np.sort(np.random.default_rng(seed).choice(eligible, number, replace=False))


def held_out_images(images: int, share: float, *, seed: int) -> NDArray[np.bool_]:
    """Boolean `(images,)`: True for the images to judge on; at least one, and at least one is left to fit on.

    Raises:
        SettingsError: the share is not between 0 and 1.
        TransformError: there are fewer than two images.
    """
    _check_share(share)
    if images < 2:
        raise TransformError(f"holding images out needs 2 images or more, found {images}: pass more pairs")
    number = min(max(round(share * images), 1), images - 1)
    return np.random.default_rng(seed).permutation(images) < number


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise SettingsError(f"the held-out share must lie between 0 and 1, found {share}")
