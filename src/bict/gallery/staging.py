"""New vectors beside the live ones: written unit by unit through a transform, resumable after any kill."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from bict.engine import Engine, LocalEngine, Spread
from bict.errors import GalleryError, RowsChanged, SpaceError
from bict.gallery.carrying import Route, Transforms, VectorTransform, rounds
from bict.gallery.gallery import Gallery
from bict.gallery.metadata import Column, GalleryMetadata, Origin
from bict.gallery.pace import WORTH, Pace, find_pace, one_thread_each
from bict.gallery.privacy import note_elsewhere
from bict.gallery.stores import Unit
from bict.gallery.unit_work import Staged, UnitWork
from bict.progress import Progress
from bict.spaces import require_same

CATCH_UP_ROUNDS = 100
UNREADABLE_ROUNDS = 5
"""So often in a row a unit of the same files cannot be read: then nobody is changing it, it is damaged."""


@dataclass(frozen=True)
class StageReport:
    """What staging did.

    Attributes:
        sources: the columns the old vectors were read from.
        column: the column the new vectors were written to.
        rows: rows of the gallery.
        units: units of the gallery.
        units_skipped: units that were finished before.
        seconds: wall-clock time of this run.
        rounded: whether a transform computed in less than float32.
    """

    sources: tuple[str, ...]
    column: str
    rows: int
    units: int
    units_skipped: int
    seconds: float
    rounded: bool


def stage(
    gallery: Gallery,
    transforms: VectorTransform | Transforms,
    *,
    engine: Engine | None = None,
    pace: Pace | None = None,
    progress: Progress | None = None,
) -> StageReport:
    """Write transformed vectors as a new column, or finish one; the gallery goes on serving the live column.

    Each row goes through the first transform whose source column has a vector of it, oldest generation first, so that
    vectors a model wrote are preferred over upgraded ones. Units that are finished are not done again; rows added or
    changed meanwhile are caught up. For the live column, rows that have no vector in it yet are filled in.

    Args:
        gallery: each transform's source must be the space of one of its columns.
        transforms: one, or several with the same target and different sources.
        engine: where units are staged; None for this process. Only this process writes ledger and metadata.
        pace: how many rows are transformed at once in this process; None to find it out, where there are many.
        progress: called with rows done and rows in all.

    Raises:
        SpaceError: a transform starts from another space, or was meant the other way round.
        GalleryError: another transform's column is staged, rows are changed faster than they are caught up, a unit
            cannot be read, or the gallery admits no other process than this one.
        EngineError: workers died too often.
    """
    started, store, engine = time.perf_counter(), gallery.store, engine or LocalEngine()
    if engine.remote and store.place is None:
        raise GalleryError(f"{gallery.address} admits one process only: move it to a server, or take --engine local")
    routes = find_routes(gallery.metadata, as_tuple(transforms))
    column = _begin(gallery, routes)
    ledger, sources = store.ledger(column.name), [route.source.name for route in routes]
    entries, units = ledger.entries(), store.units(column.name)
    skipped, carried = sum(1 for unit in units if unit.key in entries), False
    told, unread = _Told(progress), Counter[str]()
    if pace is None:
        pace = Pace() if engine.remote else _pace(gallery, routes, [u for u in units if u.key not in entries])
    work = UnitWork(gallery, routes, column, told.within, pace)
    workers = engine.workers(work, gpu=work.gains_from_gpu, at_once=store.units_at_once)
    with one_thread_each(), workers as spread:
        for _ in range(CATCH_UP_ROUNDS):
            store.commit_staged(column.name, entries)
            waiting = store.pending(column.name, sources, entries, only_missing=column.state == "live")
            if not waiting:
                break
            carried = True
            told.begin(store.count(), waiting)
            _stage_round(gallery, column, spread, waiting, told, unread)
            entries = ledger.entries()
        else:
            raise GalleryError(
                f"rows of {gallery.address} change faster than {column.name!r} is staged: run again when it is quieter"
            )
    if carried and column.index:  # an index does not see rows that were filled in under it
        store.build_index(column.name, column.space.metric)
    if column.state == "staging":
        gallery.edit(lambda newest: newest.changed(column.name, state="staged"))
    seconds = time.perf_counter() - started
    rounded = rounds(route.transform for route in routes)
    return StageReport(tuple(sources), column.name, store.count(), len(units), skipped, seconds, rounded)


def _pace(gallery: Gallery, routes: Sequence[Route], waiting: Sequence[Unit]) -> Pace:
    """The fastest pace on the first rows, where there are enough to win back the time of finding it."""
    store = gallery.store
    if sum(unit.rows for unit in waiting) < WORTH:
        return Pace()
    names = [store.id_column, *(route.source.name for route in routes)]
    try:
        batch = next(store.read_unit(waiting[0], names), None)
    except RowsChanged:  # staging will find out
        return Pace()
    if batch is None or not any(batch[route.source.name].null_count < len(batch) for route in routes):
        return Pace()
    return find_pace(routes, batch, store.id_column)[0]


class _Told:
    """What was told of the progress, in rows of the gallery; units may be worked on side by side."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._done = self._total = self._last = 0
        self._in_hand: dict[str, int] = {}

    def begin(self, total: int, waiting: Sequence[Unit]) -> None:
        """So many rows in all, these of them still to do."""
        self._done, self._total, self._last = max(0, total - sum(unit.rows for unit in waiting)), total, -1
        self._in_hand.clear()

    def within(self, unit: Unit, rows: int) -> None:
        """So many rows of a unit in hand are done."""
        with self._lock:
            self._in_hand[unit.key] = rows
            done = self._done + sum(self._in_hand.values())
            if self._progress and done != self._last:
                self._last = done
                self._progress(done, self._total)

    def finish(self, unit: Unit) -> None:
        """All of them."""
        self.within(unit, unit.rows)
        with self._lock:
            self._done += self._in_hand.pop(unit.key)


def _stage_round(
    gallery: Gallery,
    column: Column,
    spread: Spread[Unit, Staged],
    waiting: Sequence[Unit],
    told: _Told,
    unread: Counter[str],
) -> None:
    """Record units as they are finished; one whose rows changed meanwhile is found in the next round."""
    ledger = gallery.store.ledger(column.name)
    for unit, staged in spread(waiting):
        note_elsewhere(staged.opened, staged.refused)
        if staged.entry is not None:
            ledger.record(staged.entry)
            told.finish(unit)
            continue
        unread[unit.key] += 1
        if unread[unit.key] >= UNREADABLE_ROUNDS:
            raise GalleryError(
                f"{unit} of {gallery.address} cannot be read ({staged.reason}): restore its files from a backup, then "
                "run again; finished units are kept"
            )


def as_tuple(transforms: VectorTransform | Transforms) -> tuple[VectorTransform, ...]:
    """One transform or several, as a tuple."""
    return tuple(transforms) if isinstance(transforms, Sequence) else (transforms,)


def find_routes(metadata: GalleryMetadata, transforms: Transforms) -> tuple[Route, ...]:
    """The column that each transform reads, oldest generation first.

    Raises:
        SpaceError: no column has a transform's source space, or it was meant the other way round.
        GalleryError: no transform, transforms with different targets, or two from the same source.
    """
    if not transforms:
        raise GalleryError("no transform was given: name at least one")
    target = transforms[0].target
    made = metadata.made_by(transform.digest for transform in transforms)
    for transform in transforms[1:]:
        require_same(transform.target, target, "transforms of one upgrade need the same target")
    routes: list[Route] = []
    for transform in transforms:
        source = _column_of(metadata, transform, made)
        if source in [route.source for route in routes]:
            raise GalleryError(f"two transforms read column {source.name!r}: give one for each source space")
        routes.append(Route(source, transform))
    return tuple(sorted(routes, key=lambda route: route.source.generation))


def _column_of(metadata: GalleryMetadata, transform: VectorTransform, made: Column | None) -> Column:
    """The newest column of the transform's source space that is older than what it made."""
    limit = made.generation if made else metadata.next_generation
    fitting = [
        column
        for column in metadata.stored.values()
        if column.space.same_as(transform.source) and column.generation < limit and column.state in ("live", "kept")
    ]
    if fitting:
        return max(fitting, key=lambda column: column.generation)
    gone = [c.name for c in metadata.columns.values() if c.state == "dropped" and c.space.same_as(transform.source)]
    if gone:
        raise GalleryError(
            f"the vectors of {transform.source}, column {gone[-1]!r}, were removed by finalize: fit a transform from a "
            "space that is still stored"
        )
    active = metadata.active_column.space
    if transform.target.same_as(active):
        raise SpaceError(
            f"this transform's target is already the gallery's space {active}; was it meant the other way round?"
        )
    require_same(active, transform.source, "the gallery's active column does not fit the transform's source")
    raise GalleryError(f"no stored column has vectors of {transform.source}")


def _begin(gallery: Gallery, routes: tuple[Route, ...]) -> Column:
    """The column that these transforms fill: recorded, with room for it in the store."""
    metadata = gallery.metadata
    origins = tuple(Origin(column=route.source.name, transform=route.transform.digest) for route in routes)
    column = metadata.made_by(origin.transform for origin in origins)
    if not under_way(column):
        refuse_older_target(metadata, routes)
        refuse_other(metadata)
        column = _new_column(gallery, routes, origins)
        refuse_unreachable(gallery, routes)
        gallery.edit(lambda newest: newest.with_column(column))
    elif column.state != "live":
        refuse_unreachable(gallery, routes)
        gallery.edit(lambda newest: newest.changed(column.name, checked=None))
    gallery.store.begin_stage(column.name, column.space.dim, column.space.metric)
    return gallery.metadata.columns[column.name]


def under_way(column: Column | None) -> TypeGuard[Column]:
    """Whether staging goes on with this column instead of beginning a new one."""
    return column is not None and column.state in ("staging", "staged", "live")


def refuse_older_target(metadata: GalleryMetadata, routes: tuple[Route, ...]) -> None:
    """Refuse to upgrade into a space that the gallery has left: that is what a rollback is for.

    Raises:
        SpaceError: naming the column.
    """
    target = routes[0].transform.target
    if target.same_as(metadata.active_column.space):
        return
    older = [c.name for c in metadata.columns.values() if c.space.same_as(target) and c.state in ("kept", "dropped")]
    if older:
        raise SpaceError(
            f"this transform's target {target} is the space of column {older[-1]!r}, which was live before "
            f"{metadata.active!r}: was it meant the other way round? bict upgrade rollback goes back"
        )


def refuse_other(metadata: GalleryMetadata) -> None:
    """Refuse to begin while another transform's column is staged.

    Raises:
        GalleryError: naming the column and its transform.
    """
    if metadata.staged:
        digests = ", ".join(origin.transform[:12] for origin in metadata.staged.origins)
        raise GalleryError(
            f"column {metadata.staged.name!r} is {metadata.staged.state} with transform {digests}, found another "
            "transform: finish with the first (bict upgrade status), or bict upgrade discard it"
        )


def refuse_unreachable(gallery: Gallery, routes: tuple[Route, ...]) -> None:
    """Refuse when live rows have a vector in none of the source columns: they would not be found after a switch.

    Raises:
        GalleryError: with their number, and what is missing.
    """
    sources = [route.source.name for route in routes]
    if gallery.active_column in sources:
        return
    left = gallery.store.count_missing([gallery.active_column], sources)
    if left:
        raise GalleryError(
            f"{left} rows have no vector in {', '.join(sources)}, only in {gallery.active_column!r}: give also a "
            f"transform from {gallery.active_space} (after bict upgrade discard, where a column is staged already)"
        )


def _new_column(gallery: Gallery, routes: tuple[Route, ...], origins: tuple[Origin, ...]) -> Column:
    name = next_name(gallery)
    target = routes[0].transform.target
    return Column(generation=int(name[1:]), space=target, state="staging", stored_as=name, origins=origins)


def next_name(gallery: Gallery) -> str:
    """The name of a column that would be staged now: of the next generation that is taken by nothing in the store."""
    metadata = gallery.metadata
    taken, generation = {*metadata.columns, *gallery.store.schema().names}, metadata.next_generation
    while f"v{generation}" in taken:
        generation += 1
    return f"v{generation}"
