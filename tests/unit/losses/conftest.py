"""Unit vectors, an old view and batches for the tests of the losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from bict.losses import Batch, OldView

CLASSES, IMAGES, DIM = 3, 12, 5


@pytest.fixture
def unit_rows() -> Callable[..., torch.Tensor]:
    """Draws `(rows, dim)` unit rows in float64 from a seed."""

    def draw(rows: int, dim: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return functional.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=1)

    return draw


@pytest.fixture
def view(unit_rows) -> OldView:
    """Twelve pictures of three classes, and the same turned, of three more, in five dimensions; a target in seven."""
    prototypes, labels = unit_rows(2 * CLASSES, DIM, seed=11), torch.arange(IMAGES) % CLASSES
    labels = torch.cat([labels, labels + CLASSES])
    vectors = functional.normalize(prototypes[labels] + 0.6 * unit_rows(2 * IMAGES, DIM, seed=12), dim=1)
    return OldView(vectors, labels, prototypes, CLASSES, target=unit_rows(IMAGES, 7, seed=13))


@pytest.fixture
def make_batch(unit_rows, view) -> Callable[..., Batch]:
    """Makes a batch of eight pictures, the first three turned, at a quarter of the training."""

    def make(new_dim: int = DIM) -> Batch:
        rows, classifier = torch.tensor([0, 4, 8, 3, 7, 1, 5, 10]), unit_rows(CLASSES, new_dim, seed=14)
        labels = view.labels[rows] + CLASSES * (torch.arange(8) < 3)
        return Batch(
            new=unit_rows(8, new_dim, seed=15),
            labels=labels,
            old=unit_rows(8, DIM, seed=16),
            rows=rows,
            classification=lambda vectors, labels: functional.cross_entropy(4 * vectors @ classifier.T, labels),
            classifier=classifier,
            progress=0.25,
        )

    return make
