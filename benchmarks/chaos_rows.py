"""What the galleries of chaos.py hold, and what must still be there afterwards."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from bict.embeddings import Embeddings, normalise
from bict.gallery import Gallery
from bict.gallery.stores.base import present_vectors
from bict.spaces import Space

OLD = Space(name="old", fingerprint="0" * 16, dim=32)
NEW = Space(name="new", fingerprint="1" * 16, dim=48)
TOLERANCE = 1e-5


@dataclass
class Reference:
    """The transform: `normalise(old @ weights)`, with a pause at each batch so that a kill can come between."""

    pause: float = 0.0
    source: Space = OLD
    target: Space = NEW
    path: Path | None = None

    @property
    def weights(self) -> np.ndarray:
        return np.random.default_rng(7).standard_normal((OLD.dim, NEW.dim), np.float32)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.weights.tobytes()).hexdigest()

    def apply(self, embeddings: Embeddings) -> Embeddings:
        time.sleep(self.pause)
        return Embeddings(embeddings.ids, normalise(embeddings.vectors @ self.weights), NEW)


def vectors_of(ids: np.ndarray, space: Space) -> np.ndarray:
    """Every id has one vector in each space that a model would have written."""
    seeds = [int(name[1:]) * 2 + (space is NEW) for name in ids]
    return normalise(np.stack([np.random.default_rng(seed).standard_normal(space.dim, np.float32) for seed in seeds]))


def rows_of(first: int, count: int, space: Space) -> tuple[Embeddings, pa.Table]:
    ids = np.array([f"r{number:06d}" for number in range(first, first + count)])
    return Embeddings(ids, vectors_of(ids, space), space), payload_of(ids)


def payload_of(ids: np.ndarray) -> pa.Table:
    numbers = [int(name[1:]) for name in ids]
    return pa.table(
        {"path": [f"/photos/{number}.jpg" for number in numbers], "price": [number / 7 for number in numbers]}
    )


def digest(gallery: Gallery, column: str) -> str:
    """Over ids, payload and the bytes of one column, in the order of the ids."""
    batches = gallery.store.scan(["id", "path", "price", column])
    table = pa.Table.from_batches(batches).sort_by("id")
    vectors, _ = present_vectors(table[column].combine_chunks())
    rest = "\n".join(map(str, table.select(["id", "path", "price"]).to_pylist()))
    return hashlib.sha256(rest.encode() + vectors.tobytes()).hexdigest()


def compare(gallery: Gallery, expected: dict[str, Space]) -> tuple[int, int, int]:
    """Rows lost, rows whose live vector is not the reference's, and rows whose payload changed."""
    column = gallery.active_column
    table = pa.Table.from_batches(gallery.store.scan(["id", "path", "price", column])).sort_by("id")
    ids = np.array(table["id"].to_pylist())
    lost = len(set(expected) ^ set(ids.tolist()))
    vectors, there = present_vectors(table[column].combine_chunks())
    lost += int((~there).sum())
    names = ids[there]
    wanted = np.stack([expected_vector(name, expected.get(name, OLD), gallery.active_space) for name in names])
    wrong = int((np.abs(vectors - wanted).max(axis=1) > TOLERANCE).sum())
    payload = payload_of(ids)
    changed = int((np.array(table["path"].to_pylist()) != np.array(payload["path"].to_pylist())).sum())
    changed += int((np.array(table["price"].to_pylist()) != np.array(payload["price"].to_pylist())).sum())
    return lost, wrong, changed


def expected_vector(name: str, written_in: Space, live: Space) -> np.ndarray:
    ids = np.array([name])
    if live.same_as(written_in):
        return vectors_of(ids, written_in)[0]
    return Reference().apply(Embeddings(ids, vectors_of(ids, OLD), OLD)).vectors[0]
