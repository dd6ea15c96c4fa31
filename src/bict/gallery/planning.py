"""What an upgrade would do, found out without writing anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bict.errors import BictError
from bict.gallery.carrying import Route, Transforms, VectorTransform, carry
from bict.gallery.gallery import Gallery
from bict.gallery.staging import (
    as_tuple,
    find_routes,
    next_name,
    refuse_older_target,
    refuse_other,
    refuse_unreachable,
    under_way,
)

CALIBRATION_SECONDS = 2.0


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
        rows_per_second: reading and transforming, measured on the first rows; None where there was nothing to measure.
        seconds: the rows at that rate; the store's own writing and the index come on top.
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
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems


def plan(gallery: Gallery, transforms: VectorTransform | Transforms) -> UpgradePlan:
    """Say what `stage` would write where, how long it would take and what would refuse it; nothing is written.

    Raises:
        BictError: the gallery cannot be read.
    """
    chosen = as_tuple(transforms)
    metadata, rows, problems = gallery.metadata, len(gallery), []
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
    rate = None
    if routes and not problems:
        try:
            rate = _calibrate(gallery, routes)
        except BictError as error:
            problems.append(str(error))
    needed, free = gallery.store.bytes_needed(chosen[0].target.dim)
    if free is not None and needed > free:
        problems.append(f"{needed:,} bytes are needed and {free:,} are free: free disk first")
    return UpgradePlan(
        gallery=gallery.address,
        column=column if routes else None,
        target=str(chosen[0].target),
        steps=steps,
        rows=rows,
        bytes_to_write=needed,
        bytes_free=free,
        rows_per_second=rate,
        seconds=rows / rate if rate else None,
        problems=tuple(problems),
        warnings=_warnings(gallery, routes, begun and made is not None and made.state != "live"),
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


def _calibrate(gallery: Gallery, routes: tuple[Route, ...]) -> float | None:
    """Rows read and transformed a second, over at most two seconds."""
    names = [gallery.store.id_column, *(route.source.name for route in routes)]
    rows, started = 0, time.perf_counter()
    for batch in gallery.store.scan(names):
        carry(routes, batch, gallery.store.id_column)
        rows += len(batch)
        if time.perf_counter() - started > CALIBRATION_SECONDS:
            break
    return rows / max(time.perf_counter() - started, 1e-9) if rows else None


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
