"""Small spaces, vectors and a linear transform, for every gallery test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bict.embeddings import Embeddings, normalise
from bict.gallery import Gallery
from bict.spaces import Space, require_same

OLD = Space(name="old", fingerprint="a" * 16, dim=4)
NEW = Space(name="new", fingerprint="b" * 16, dim=6, backward_compatible_with=("a" * 16,))
ROWS = 25
UNIT_ROWS = 10


@dataclass
class Linear:
    """`normalise(old @ weights)`, counting the rows it was given."""

    source: Space = OLD
    target: Space = NEW
    seed: int = 0
    path: Path | None = None
    before: Callable[[int], object] = lambda rows_so_far: None
    batches: list[int] = field(default_factory=list)

    @property
    def weights(self) -> np.ndarray:
        shape = (self.source.dim, self.target.dim)
        return np.random.default_rng(self.seed).normal(size=shape).astype(np.float32)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.weights.tobytes()).hexdigest()

    def apply(self, embeddings: Embeddings) -> Embeddings:
        require_same(embeddings.space, self.source, "Linear")
        self.before(sum(self.batches))
        self.batches.append(len(embeddings))
        return Embeddings(embeddings.ids, normalise(embeddings.vectors @ self.weights), self.target)


def make_embeddings(rows: int = ROWS, space: Space = OLD, start: int = 0) -> Embeddings:
    vectors = normalise(np.random.default_rng(start + 7).normal(size=(rows, space.dim)).astype(np.float32))
    ids = [f"image-{row}" for row in range(start, start + rows)]
    return Embeddings(np.array(ids), vectors, space, np.array([f"class {row % 3}" for row in range(rows)]))


def make_payload(rows: int = ROWS) -> pa.Table:
    return pa.table(
        {
            "path": [f"/photos/{row}.jpg" for row in range(rows)],
            "shop": pa.array(["north", "south", None, "north", "east"] * (rows // 5)).dictionary_encode(),
            "tags": pa.array([[row, row + 1] for row in range(rows)], pa.list_(pa.int16())),
            "price": pa.array(np.arange(rows) / 7, pa.float64()),
        }
    )


@pytest.fixture
def linear():
    return Linear


@pytest.fixture
def embeddings():
    return make_embeddings


@pytest.fixture
def payload():
    return make_payload


@pytest.fixture
def gallery(tmp_path):
    """25 rows in units of 10, 10 and 5, with labels and payload."""
    return Gallery.create(tmp_path / "gallery", make_embeddings(), make_payload(), unit_rows=UNIT_ROWS)
