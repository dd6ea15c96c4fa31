"""The work of staging one unit, in this process or, within a boundary of its own, in another one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from bict.embeddings import vectors_to_arrow
from bict.engine import overlap
from bict.errors import RowsChanged
from bict.gallery.carrying import Carried, Route, carry
from bict.gallery.gallery import Gallery
from bict.gallery.ledger import Entry
from bict.gallery.metadata import Column
from bict.gallery.pace import Pace
from bict.gallery.privacy import within_boundary
from bict.gallery.stores import Store, Unit
from bict.gallery.stores.base import present_vectors


@dataclass(frozen=True)
class Staged:
    """What came of a unit.

    Attributes:
        entry: for the ledger; None where the rows changed, or could not be read.
        reason: of that.
        opened: files that another process opened for it.
        refused: what that process was kept from opening.
    """

    entry: Entry | None
    reason: str = ""
    opened: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@runtime_checkable
class GpuTransform(Protocol):
    """A transform that can compute on a GPU."""

    @property
    def gains_from_gpu(self) -> bool:
        """Whether it has weights worth moving there."""
        ...

    def to_gpu(self) -> None:
        """Compute on the GPU from now on, where there is one."""
        ...


@dataclass(frozen=True)
class UnitWork:
    """Stages one unit of a column in this process; pickled, it becomes `UnitWorkElsewhere`.

    Attributes:
        progress: called with a unit and the rows of it that are done.
        pace: how many rows are transformed at once; it changes no byte.
    """

    gallery: Gallery
    routes: tuple[Route, ...]
    column: Column
    progress: Callable[[Unit, int], None]
    pace: Pace

    def __call__(self, unit: Unit) -> Staged:
        """Stage it."""
        try:
            return Staged(_stage_unit(self, unit))
        except RowsChanged as error:
            return Staged(None, str(error))

    def __reduce__(self) -> tuple[type[UnitWorkElsewhere], tuple[object, ...]]:
        store = self.gallery.store
        return UnitWorkElsewhere, (type(store), store.place, self.routes, self.column)

    @property
    def gains_from_gpu(self) -> bool:
        """Whether one of the transforms is faster on a GPU."""
        return any(isinstance(r.transform, GpuTransform) and r.transform.gains_from_gpu for r in self.routes)


@dataclass(frozen=True)
class UnitWorkElsewhere:
    """The same work in another process, which opens the gallery by its address, once, and only writes staged vectors.

    Ledger, metadata and lock stay with the process that gave out the work.
    """

    kind: type[Store]
    place: str
    routes: tuple[Route, ...]
    column: Column

    @cached_property
    def _work(self) -> UnitWork:
        for route in self.routes:
            if isinstance(route.transform, GpuTransform):
                route.transform.to_gpu()
        return UnitWork(
            Gallery(self.kind.open(self.place)), self.routes, self.column, lambda _unit, _rows: None, Pace()
        )

    def __call__(self, unit: Unit) -> Staged:
        """Stage it as the gallery is now."""
        work = self._work
        store, reach = work.gallery.store, work.gallery.store.reach()
        with within_boundary(*reach.paths, servers=reach.servers) as log:
            store.schema()  # the newest version: what another process has committed since
            staged = work(unit)
        return Staged(staged.entry, staged.reason, tuple(log.opened), tuple(log.refused))


def _stage_unit(work: UnitWork, unit: Unit) -> Entry:
    new_sum, old_sum, staged = hashlib.sha256(), hashlib.sha256(), 0
    store, id_column, column = work.gallery.store, work.gallery.store.id_column, work.column
    only_missing = column.name if column.state == "live" else None
    names = [id_column, *(route.source.name for route in work.routes), column.name]

    def carrying(batch: pa.RecordBatch) -> Carried:
        return carry(work.routes, batch, id_column, only_missing=only_missing)

    def vectors() -> Iterator[pa.FixedSizeListArray]:
        nonlocal staged
        done = 0
        pace = work.pace if len(work.routes) == 1 else Pace(work.pace.threads)  # the checksum goes route by route
        parts = (part for batch in store.read_unit(unit, names) for part in pace.slices(batch))
        for part, carried in overlap(carrying, parts, threads=pace.threads):
            new_sum.update(carried.new.data)
            old_sum.update(carried.old)
            staged += len(carried.new)
            yield _as_column(carried, part[column.name])
            done += len(part)
            work.progress(unit, done)

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
