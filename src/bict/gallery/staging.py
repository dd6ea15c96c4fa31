"""New vectors beside the live ones: written unit by unit through a transform, resumable after any kill."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.embeddings import Embeddings, vectors_to_arrow
from bict.engine import overlap
from bict.errors import GalleryError, RowsChanged, SpaceError
from bict.gallery.gallery import Gallery
from bict.gallery.ledger import Entry
from bict.gallery.metadata import Column, GalleryMetadata, Origin
from bict.gallery.stores import Unit
from bict.gallery.stores.base import check_finite, present_vectors
from bict.progress import Progress
from bict.spaces import Space, require_same

CATCH_UP_ROUNDS = 100


class VectorTransform(Protocol):
    """Carries vectors of the space `source` into the space `target`."""

    @property
    def source(self) -> Space:
        """The space of the vectors it takes."""
        ...

    @property
    def target(self) -> Space:
        """The space of the vectors it gives."""
        ...

    @property
    def digest(self) -> str:
        """A hash over everything that decides its output."""
        ...

    @property
    def path(self) -> Path | None:
        """Where it was loaded from, if it was."""
        ...

    def apply(self, embeddings: Embeddings) -> Embeddings:
        """The same ids with vectors `(rows, target.dim)`; SpaceError for vectors of another space."""
        ...


Transforms = Sequence[VectorTransform]


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
    """

    sources: tuple[str, ...]
    column: str
    rows: int
    units: int
    units_skipped: int
    seconds: float


@dataclass(frozen=True)
class Route:
    """One of the ways into a staged column: the column vectors are read from, and their transform."""

    source: Column
    transform: VectorTransform


def stage(
    gallery: Gallery, transforms: VectorTransform | Transforms, *, progress: Progress | None = None
) -> StageReport:
    """Write transformed vectors as a new column, or finish one; the gallery goes on serving the live column.

    Each row goes through the first transform whose source column has a vector of it, oldest generation first, so that
    vectors a model wrote are preferred over upgraded ones. Units that are finished are not done again; rows added or
    changed meanwhile are caught up. For the live column, rows that have no vector in it yet are filled in.

    Args:
        gallery: each transform's source must be the space of one of its columns.
        transforms: one, or several with the same target and different sources.
        progress: called with rows done and rows in all.

    Raises:
        SpaceError: a transform starts from another space, or was meant the other way round.
        GalleryError: another transform's column is staged, or rows are changed faster than they are caught up.
    """
    started, store = time.perf_counter(), gallery.store
    routes = find_routes(gallery.metadata, as_tuple(transforms))
    column = _begin(gallery, routes)
    ledger, sources = store.ledger(column.name), [route.source.name for route in routes]
    entries, units = ledger.entries(), store.units(column.name)
    skipped, carried = sum(1 for unit in units if unit.key in entries), False
    for _ in range(CATCH_UP_ROUNDS):
        store.commit_staged(column.name, entries)
        waiting = store.pending(column.name, sources, entries, only_missing=column.state == "live")
        if not waiting:
            break
        carried = True
        with suppress(RowsChanged):  # what is there now is found in the next round
            _stage_units(gallery, routes, column, waiting, progress)
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
    return StageReport(tuple(sources), column.name, store.count(), len(units), skipped, seconds)


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


def apply_checked(transform: VectorTransform, old: Embeddings) -> NDArray[np.float32]:
    """New vectors `(rows, target.dim)` for old ones, in their order.

    Raises:
        SpaceError: the transform gave vectors of another space than its target.
        GalleryError: it gave other ids.
    """
    new = transform.apply(old)
    require_same(new.space, transform.target, "output of the transform")
    if not np.array_equal(new.ids, old.ids):
        raise GalleryError(
            f"the transform gave {len(new)} rows with other ids for {len(old)} rows: nothing was written"
        )
    return check_finite(new.vectors, "output of the transform")


@dataclass(frozen=True)
class Carried:
    """New vectors of one batch.

    Attributes:
        rows: `(rows,)` which rows of the batch were carried.
        old: the bytes of their source vectors, route after route.
        new: `(carried, dim)` their transforms, in the batch's order.
    """

    rows: NDArray[np.bool_]
    old: bytes
    new: NDArray[np.float32]


def carry(
    routes: Sequence[Route], batch: pa.RecordBatch, id_column: str, *, only_missing: str | None = None
) -> Carried:
    """Each row's vector through the first route that has one; rows with a vector in `only_missing` are left out."""
    ids = batch[id_column].to_numpy(zero_copy_only=False)
    done = np.zeros(len(batch), bool)
    if only_missing:
        done |= batch[only_missing].is_valid().to_numpy(zero_copy_only=False)
    carried, old = np.zeros(len(batch), bool), []
    new = np.empty((len(batch), routes[0].transform.target.dim), np.float32)
    for route in routes:
        vectors, there = present_vectors(batch[route.source.name])
        mine = there & ~done
        if not mine.any():
            continue
        vectors = vectors if mine.all() else vectors[mine[there]]
        new[mine] = apply_checked(route.transform, Embeddings(ids[mine], vectors, route.source.space))
        old.append(vectors.tobytes())
        done |= mine
        carried |= mine
    return Carried(carried, b"".join(old), new if carried.all() else new[carried])


def _stage_units(
    gallery: Gallery, routes: tuple[Route, ...], column: Column, waiting: list[Unit], progress: Progress | None
) -> None:
    total = gallery.store.count()
    done = max(0, total - sum(unit.rows for unit in waiting))
    ledger = gallery.store.ledger(column.name)
    for unit in waiting:
        shifted = _shifted(progress, done, total)
        ledger.record(_stage_unit(gallery, routes, unit, column, shifted))
        done += unit.rows


def _stage_unit(gallery: Gallery, routes: tuple[Route, ...], unit: Unit, column: Column, progress: Progress) -> Entry:
    new_sum, old_sum, staged = hashlib.sha256(), hashlib.sha256(), 0
    store, id_column = gallery.store, gallery.store.id_column
    only_missing = column.name if column.state == "live" else None
    names = [id_column, *(route.source.name for route in routes), column.name]

    def carrying(batch: pa.RecordBatch) -> Carried:
        return carry(routes, batch, id_column, only_missing=only_missing)

    def vectors() -> Iterator[pa.FixedSizeListArray]:
        nonlocal staged
        done = 0
        for batch, carried in overlap(carrying, store.read_unit(unit, names)):
            new_sum.update(carried.new.data)
            old_sum.update(carried.old)
            staged += len(carried.new)
            yield _as_column(carried, batch[column.name])
            done += len(batch)
            progress(done, unit.rows)

    receipt = store.stage_unit(unit, column.name, vectors())
    return Entry(
        unit=unit.key,
        rows=staged,
        sha256=new_sum.hexdigest(),
        source_sha256=old_sum.hexdigest(),
        receipt=receipt,
    )


def _as_column(carried: Carried, present: pa.Array) -> pa.FixedSizeListArray:
    """Carried vectors, and for the other rows what is there already: a vector that a model wrote, or null."""
    if carried.rows.all():
        return vectors_to_arrow(carried.new)
    own, there = present_vectors(present)
    staying = ~carried.rows & there
    places = np.full(len(carried.rows), -1, np.int64)
    places[carried.rows] = np.arange(len(carried.new))
    places[staying] = len(carried.new) + np.arange(int(staying.sum()))
    values = vectors_to_arrow(np.concatenate([carried.new, own[staying[there]]]))
    return values.take(pa.array(places, mask=places < 0))


def _shifted(progress: Progress | None, before: int, total: int) -> Progress:
    """Progress of one unit as progress of the whole."""
    return lambda done, _: progress(before + done, total) if progress else None
