from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bict.embeddings import normalise
from bict.spaces import Space
from bict.transforms import Pairs

Make = Callable[..., Pairs]


def orthogonal(dim: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def unit(rows: np.ndarray) -> np.ndarray:
    return normalise(rows.astype(np.float32))


def clustered(classes: int, per_class: int, dim: int, rng: np.random.Generator, spread: float) -> np.ndarray:
    centres = rng.normal(size=(classes, 1, dim))
    return (centres + spread * rng.normal(size=(classes, per_class, dim))).reshape(-1, dim)


@pytest.fixture
def rotated() -> Make:
    """Pairs with new = old R, exactly."""

    def make(dim: int = 8, classes: int = 12, per_class: int = 10, views: int = 1, seed: int = 0) -> Pairs:
        rng = np.random.default_rng(seed)
        old = unit(clustered(classes, per_class, dim, rng, 0.5))
        old = np.stack([old, *(unit(old + 0.05 * rng.normal(size=old.shape)) for _ in range(views - 1))])
        return Pairs(
            old, unit(old.reshape(-1, dim) @ orthogonal(dim, 7)).reshape(old.shape), labels(classes, per_class)
        )

    return make


@pytest.fixture
def bent() -> Make:
    """Pairs whose new vectors hold absolute values of old directions: no matrix gives them."""

    def make(dim: int = 8, classes: int = 40, per_class: int = 15, seed: int = 0) -> Pairs:
        rng = np.random.default_rng(seed)
        old = unit(clustered(classes, per_class, dim, rng, 0.4))
        new = np.abs(old @ orthogonal(dim, 1)) - 0.3 + 0.1 * (old @ orthogonal(dim, 2))
        return Pairs(old[None], unit(new)[None], labels(classes, per_class))

    return make


def labels(classes: int, per_class: int) -> np.ndarray:
    return np.repeat(np.arange(classes), per_class)


@pytest.fixture
def spaces() -> Callable[..., tuple[Space, Space]]:
    """A source and a target space."""

    def make(old_dim: int = 8, new_dim: int = 8, *, normalised: bool = True) -> tuple[Space, Space]:
        old = Space(name="old", fingerprint="a" * 16, dim=old_dim, normalised=normalised)
        return old, Space(name="new", fingerprint="b" * 16, dim=new_dim, normalised=normalised)

    return make
