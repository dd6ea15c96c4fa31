"""What an upgrade would do, found out without writing anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from bict.errors import BictError
from bict.gallery.carrying import Route, Transforms, VectorTransform, carry, full_precision, rounds
from bict.gallery.forecast import Forecast, forecast
from bict.gallery.gallery import Gallery
from bict.gallery.pace import WORTH, Pace, find_pace
from bict.gallery.staging import (
    as_tuple,
    find_routes,
    next_name,
    refuse_older_target,
    refuse_other,
    refuse_unreachable,
    under_way,
)
from bict.progress import Progress, silent

QUERIES, NEIGHBOURS = 256, 10
ROOM = 3
"""Columns that fit a disk on which a column is staged and indexed."""


@dataclass(frozen=True)
class Step:
    """Rows that one transform would carry."""

    source: str
    space: str
    transform: str
    rows: int


@dataclass(frozen=True)
class UpgradePlan:
    """What an upgrade would write where, and what stands against it.

    Attributes:
        gallery: the address.
        column: the column that would be written, None where nothing can be.
        target: the space its vectors would lie in.
        steps: one per transform.
        rows: rows of the gallery.
        bytes_to_write: size of the new column.
        bytes_free: free disk where it would lie, None where the store does not say.
        rows_per_second: transforming, measured on the first rows; None where there was nothing to measure.
        seconds: the rows at that rate; reading, writing and the index come on top.
        threads: so many slices of rows are transformed at once, None where nothing was measured.
        kept_neighbours: of the 10 nearest of a vector, the share that stays when transforms compute in less than
            float32, among the first rows; None where they do not.
        forecast: of many more rows, or of workers, where one was asked for.
        problems: checks that fail already, each with its cure.
        warnings: what the operator should know.
    """

    gallery: str
    column: str | None
    target: str
    steps: tuple[Step, ...]
    rows: int
    bytes_to_write: int
    bytes_free: int | None
    rows_per_second: float | None
    seconds: float | None
    threads: int | None
    kept_neighbours: float | None
    forecast: Forecast | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems


def plan(
    gallery: Gallery,
    transforms: VectorTransform | Transforms,
    *,
    rows: int | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> UpgradePlan:
    """Say what `stage` would write where, how long it would take and what would refuse it; the gallery is only read.

    Args:
        gallery: the gallery.
        transforms: as for `stage`.
        rows: forecast an upgrade of so many rows, by a trial beside the gallery; see `forecast`.
        workers: forecast one by so many workers.
        progress: called with trials done, of two.

    Raises:
        BictError: the gallery cannot be read, or a trial failed.
    """
    chosen = as_tuple(transforms)
    metadata, there, problems = gallery.metadata, len(gallery), []
    routes: tuple[Route, ...] = ()
    try:
        routes = find_routes(metadata, chosen)
    except BictError as error:
        problems.append(str(error))
    made = metadata.made_by(transform.digest for transform in chosen)
    begun = under_way(made)
    if routes:
        problems += _refusals(gallery, routes, begun=begun)
    column = made.name if begun and made else next_name(gallery)
    steps = _steps(gallery, routes)
    measured = None
    if routes and not problems:
        try:
            measured = _calibrate(gallery, routes)
        except BictError as error:
            problems.append(str(error))
    expected = None
    if measured and (rows is not None or workers is not None):
        size = there if rows is None else rows
        pace = measured.pace if size >= WORTH else Pace()  # as staging will do
        expected = forecast(gallery, routes[0].transform, size, pace=pace, workers=workers, progress=progress)
    needed, free = gallery.store.bytes_needed(chosen[0].target.dim)
    if free is not None and needed > free:
        problems.append(f"{needed:,} bytes are needed and {free:,} are free: free disk first")
    warnings = _warnings(gallery, routes, begun and made is not None and made.state != "live")
    if free is not None and needed <= free < ROOM * needed:
        warnings = (
            *warnings,
            f"an index takes the bytes of the column again, twice while it is built: {free:,} are free",
        )
    return UpgradePlan(
        gallery=gallery.address,
        column=column if routes else None,
        target=str(chosen[0].target),
        steps=steps,
        rows=there,
        bytes_to_write=needed,
        bytes_free=free,
        rows_per_second=measured.rate if measured else None,
        seconds=there / measured.rate if measured else None,
        threads=measured.pace.threads if measured else None,
        kept_neighbours=measured.kept if measured else None,
        forecast=expected,
        problems=tuple(problems),
        warnings=warnings,
    )


def _refusals(gallery: Gallery, routes: tuple[Route, ...], *, begun: bool) -> list[str]:
    """What staging would refuse."""
    found = []
    try:
        if not begun:
            refuse_older_target(gallery.metadata, routes)
            refuse_other(gallery.metadata)
        refuse_unreachable(gallery, routes)
    except BictError as error:
        found.append(str(error))
    return found


def _steps(gallery: Gallery, routes: tuple[Route, ...]) -> tuple[Step, ...]:
    steps: list[Step] = []
    earlier: list[str] = []
    for route in routes:
        rows = gallery.store.count_missing([route.source.name], earlier)
        steps.append(Step(route.source.name, str(route.source.space), route.transform.digest, rows))
        earlier.append(route.source.name)
    return tuple(steps)


@dataclass(frozen=True)
class _Measured:
    pace: Pace
    rate: float
    kept: float | None


def _calibrate(gallery: Gallery, routes: tuple[Route, ...]) -> _Measured | None:
    """The fastest pace for the transforms on the first rows, and what their precision costs there."""
    id_column = gallery.store.id_column
    names = [id_column, *(route.source.name for route in routes)]
    batch = next((batch for batch in gallery.store.scan(names) if len(batch)), None)
    if batch is None:
        return None
    pace, rate = find_pace(routes, batch, id_column)
    return _Measured(pace, rate, _kept_neighbours(routes, batch, id_column))


def _kept_neighbours(routes: tuple[Route, ...], batch: pa.RecordBatch, id_column: str) -> float | None:
    """Of a vector's nearest in float32, the share that is nearest to it, too, among vectors of less precision.

    The vectors that search are in float32, as a model would make them.
    """
    if not rounds(route.transform for route in routes):
        return None
    full = [Route(route.source, full_precision(route.transform)) for route in routes]
    exact, rounded = (carry(some, batch, id_column).new for some in (full, routes))
    nearest = []
    for rows in (exact, rounded):
        scores = exact[:QUERIES] @ rows.T
        np.fill_diagonal(scores, -np.inf)
        nearest.append(np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS])
    shares = [len(np.intersect1d(one, other)) / len(one) for one, other in zip(*nearest, strict=True)]
    return float(np.mean(shares))


def _warnings(gallery: Gallery, routes: tuple[Route, ...], begun: bool) -> tuple[str, ...]:
    found = []
    if begun:
        found.append("the column is begun already: bict upgrade run goes on where it stopped")
    found += [
        f"{route.source.name!r} holds upgraded vectors: a transform fitted from the vectors a model wrote usually "
        "gives better ones"
        for route in routes
        if route.source.origins
    ]
    found += gallery.store.advice()
    empty = len(gallery) - gallery.store.count_missing([gallery.active_column], []) if routes else 0
    if empty:
        found.append(f"{empty} rows have no vector in the live column and are not searched now")
    return tuple(found)
