"""How many rows are transformed at once, and in how many threads: tried out before a long staging."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat

import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from bict.engine import overlap
from bict.gallery.carrying import Route, carry
from bict.gallery.stores.base import BATCH_ROWS

CALIBRATION_SECONDS = 2.0
SLICES = (1024, 2048, 4096, 8192)
"""Multiples of the rows that a transform computes at once, so that none of them changes a byte of the result."""
WORTH = 200_000
"""Rows from which on the two seconds are won back."""


@dataclass(frozen=True)
class Pace:
    """So many slices of so many rows are transformed at once, each slice in one thread.

    Attributes:
        threads: slices at a time.
        rows: of a slice.
    """

    threads: int = 1
    rows: int = BATCH_ROWS

    def slices(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """A batch in slices of its rows."""
        return (batch.slice(start, self.rows) for start in range(0, len(batch), self.rows))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Matrix products of torch and numpy use the thread that asks for them: slices are what runs side by side."""
    before = torch.get_num_threads()
    with threadpool_limits(1, user_api="blas"):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def find_pace(
    routes: Sequence[Route], batch: pa.RecordBatch, id_column: str, *, seconds: float = CALIBRATION_SECONDS
) -> tuple[Pace, float]:
    """The fastest pace for these transforms on this machine, and the rows a second that it transforms.

    First the rows of a slice are tried in one thread, then the number of threads, one after the other on the rows of
    one batch, until the seconds are over.

    Raises:
        BictError: what a transform raises.
    """
    threads = [*_powers_of_two(os.cpu_count() or 1)]
    each = seconds / (len(SLICES) + len(threads))

    def rate(pace: Pace) -> float:
        return _rate(routes, batch, id_column, pace, each)

    with one_thread_each():
        rows = max(SLICES, key=lambda rows: rate(Pace(1, rows)))
        rates = {pace: rate(pace) for pace in (Pace(number, rows) for number in threads)}
    best = max(rates, key=lambda pace: rates[pace])
    return best, rates[best]


def _powers_of_two(most: int) -> Iterator[int]:
    """1, 2, 4, ... and the most."""
    number = 1
    while number < most:
        yield number
        number *= 2
    yield most


def _rate(routes: Sequence[Route], batch: pa.RecordBatch, id_column: str, pace: Pace, seconds: float) -> float:
    """Rows transformed a second, over so many seconds and at least one slice for each thread."""
    slices = (part for again in repeat(batch) for part in pace.slices(again))
    done, started = 0, time.perf_counter()
    results = overlap(lambda part: carry(routes, part, id_column), slices, threads=pace.threads)
    for number, (part, _) in enumerate(results):
        done += len(part)
        if number >= pace.threads and time.perf_counter() - started > seconds:
            break
    results.close()  # type: ignore[attr-defined]
    return done / (time.perf_counter() - started)
