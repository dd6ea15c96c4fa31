"""How long an upgrade of many more rows would take, from a trial beside the gallery: the same store, random vectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bict.embeddings import Embeddings, normalise
from bict.engine import LocalEngine
from bict.errors import SettingsError
from bict.gallery.carrying import VectorTransform
from bict.gallery.gallery import Gallery
from bict.gallery.pace import Pace
from bict.gallery.staging import stage
from bict.gallery.verification import verify
from bict.progress import Progress, silent
from bict.spaces import Space

FIRST, LEAST, MOST = 16_384, 65_536, 524_288
"""Rows of the first trial, and of the second, larger one."""
TRIAL_SECONDS = 10.0
UNIT_ROWS = 65_536
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Forecast:
    """What an upgrade of so many rows would take.

    Attributes:
        rows: to upgrade.
        workers: processes that stage at the same time, each in one thread; None for this one, in all its threads.
        trial_rows: random vectors that were staged, verified and indexed beside the gallery for it.
        rows_per_second: staged by all workers together, once they work.
        stage_seconds: of staging.
        verify_seconds: of verifying, in one process, without the neighbours of its sample: two searches more.
        index_seconds: of the index, in the store; extrapolated from the larger trial as the store says it grows.
        bytes_to_read: vectors of the old column.
        bytes_to_write: vectors of the new column.
        bytes_per_second: read and written together, which storage and network must bear.
    """

    rows: int
    workers: int | None
    trial_rows: int
    rows_per_second: float
    stage_seconds: float
    verify_seconds: float
    index_seconds: float
    bytes_to_read: int
    bytes_to_write: int
    bytes_per_second: float

    @property
    def seconds(self) -> float:
        """Staging, verifying and indexing, one after the other."""
        return self.stage_seconds + self.verify_seconds + self.index_seconds


@dataclass(frozen=True)
class _Trial:
    rows: int
    stage: float
    verify: float
    index: float


def forecast(
    gallery: Gallery,
    transform: VectorTransform,
    rows: int,
    *,
    pace: Pace,
    workers: int | None = None,
    progress: Progress = silent,
) -> Forecast:
    """Stage, verify and index two sizes of random vectors beside the gallery, remove them, and extrapolate.

    What the larger trial took longer than the smaller one is the cost of its rows; what both took is that of beginning.

    Args:
        gallery: says which store; it is neither read nor written.
        transform: from the space of one of its columns.
        rows: to upgrade.
        pace: at which this process transforms.
        workers: processes of one thread each; None for this process at its pace.
        progress: called with trials done, of two.

    Raises:
        SettingsError: no rows or no workers.
        GalleryError: the store has no room for a trial, as a Qdrant folder.
        BictError: a trial failed.
    """
    if rows < 1 or (workers is not None and workers < 1):
        raise SettingsError(f"found {rows} rows and {workers} workers, expected at least 1")
    pace = Pace() if workers else pace
    engine = LocalEngine(at_most=1 if workers else None)
    small = _try(gallery, transform, FIRST, pace, engine)
    progress(1, 2)
    slowest = max(small.stage, small.index)
    size = int(min(MOST, max(LEAST, TRIAL_SECONDS * FIRST / slowest)))
    large = _try(gallery, transform, size, pace, engine)
    progress(2, 2)
    each = _each(small, large, lambda trial: trial.stage)
    rate = (workers or 1) / each
    read, write = (FLOAT_BYTES * space.dim for space in (transform.source, transform.target))
    work = gallery.store.index_work
    return Forecast(
        rows=rows,
        workers=workers,
        trial_rows=small.rows + large.rows,
        rows_per_second=rate,
        stage_seconds=max(0.0, small.stage - each * small.rows) + rows / rate,
        verify_seconds=rows * _each(small, large, lambda trial: trial.verify),
        index_seconds=large.index * work(rows) / work(large.rows),
        bytes_to_read=rows * read,
        bytes_to_write=rows * write,
        bytes_per_second=rate * (read + write),
    )


def _each(small: _Trial, large: _Trial, seconds: Callable[[_Trial], float]) -> float:
    """Seconds of one row more; where beginning hides it, of a row of the larger trial."""
    more = (seconds(large) - seconds(small)) / (large.rows - small.rows)
    return more if more > 0 else seconds(large) / large.rows


def _try(gallery: Gallery, transform: VectorTransform, rows: int, pace: Pace, engine: LocalEngine) -> _Trial:
    with _scratch(gallery, transform.source, rows) as scratch:
        staged = stage(scratch, transform, engine=engine, pace=pace)
        began = time.perf_counter()
        verify(scratch, transform, sample=0)
        verified = time.perf_counter()
        scratch.store.build_index(staged.column, transform.target.metric)
        return _Trial(rows, staged.seconds, verified - began, time.perf_counter() - verified)


@contextmanager
def _scratch(gallery: Gallery, space: Space, rows: int) -> Iterator[Gallery]:
    """A gallery of random vectors in the same store, removed at the end."""
    parts = (_sample(space, start, min(UNIT_ROWS, rows - start)) for start in range(0, rows, UNIT_ROWS))
    scratch = Gallery.create(gallery.store.spare(), ((part, None) for part in parts), unit_rows=UNIT_ROWS)
    try:
        yield scratch
    finally:
        scratch.store.destroy()


def _sample(space: Space, start: int, rows: int) -> Embeddings:
    """Random unit vectors with integer ids from `start` on."""
    vectors = np.random.default_rng(start).standard_normal((rows, space.dim), np.float32)
    return Embeddings(np.arange(start, start + rows), normalise(vectors), space)
