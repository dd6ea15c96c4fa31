"""New vectors beside the live ones: written unit by unit through a transform, resumable after any kill."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import GalleryError, SpaceError
from bict.gallery.gallery import Gallery
from bict.gallery.ledger import Entry, Header, Ledger
from bict.gallery.metadata import Column
from bict.gallery.rows import to_embeddings
from bict.gallery.stores import Unit
from bict.spaces import Space, require_same

Progress = Callable[[int, int], None]


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


@dataclass(frozen=True)
class StageReport:
    """What staging did.

    Attributes:
        source: the column the old vectors were read from.
        column: the column the new vectors were written to.
        rows: rows of the gallery.
        units: units of the gallery.
        units_skipped: units that an earlier run had finished.
        seconds: wall-clock time of this run.
    """

    source: str
    column: str
    rows: int
    units: int
    units_skipped: int
    seconds: float


def stage(gallery: Gallery, transform: VectorTransform, *, progress: Progress | None = None) -> StageReport:
    """Write `transform(active vectors)` as a new column; the gallery goes on serving the active one.

    Units that an earlier, interrupted run finished with the same transform are not done again.

    Args:
        gallery: its active space must be the transform's source.
        transform: applied to at most a few thousand rows at a time.
        progress: called with rows done and rows in all.

    Raises:
        SpaceError: the transform starts from another space, or was meant the other way round.
        GalleryError: another transform's column is staged or half staged, or rows changed meanwhile.
    """
    started, store, metadata = time.perf_counter(), gallery.store, gallery.metadata
    source = metadata.active_column
    check_direction(source.space, transform)
    units = store.units()
    rows = sum(unit.rows for unit in units)
    if metadata.staged:
        _require_made_by(metadata.staged, transform)
        return StageReport(
            source.name, metadata.staged.name, rows, len(units), len(units), time.perf_counter() - started
        )
    column = _next_column(source, metadata.next_generation, transform)
    header = Header(column=column.name, source=source.name, transform=transform.digest)
    ledger = Ledger.open(ledger_folder(gallery, column.name), header)
    todo = [unit for unit in units if unit.key not in ledger.entries]
    store.begin_stage(column.name, column.space.dim)
    done = rows - sum(unit.rows for unit in todo)
    for unit in todo:
        shifted = _shifted(progress, done, rows)
        ledger.record(_stage_unit(gallery, transform, unit, source=source, column=column.name, progress=shifted))
        done += unit.rows
    store.commit_staged(column.name, {key: entry.receipt for key, entry in ledger.entries.items()})
    gallery.edit(lambda newest: newest.with_column(column))
    seconds = time.perf_counter() - started
    return StageReport(source.name, column.name, rows, len(units), len(units) - len(todo), seconds)


def check_direction(active: Space, transform: VectorTransform) -> None:
    """Refuse a transform that does not start from the active space.

    Raises:
        SpaceError: saying whether it points the other way round.
    """
    if transform.target.same_as(active):
        raise SpaceError(
            f"this transform's target is already the gallery's space {active}; was it meant the other way round?"
        )
    require_same(active, transform.source, "the gallery's active column does not fit the transform's source")


def ledger_folder(gallery: Gallery, column: str) -> Path:
    """Where the ledger of a staged column lies."""
    return gallery.store.work_dir / column


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
    return new.vectors


def _require_made_by(staged: Column, transform: VectorTransform) -> None:
    if staged.made_by[-1:] != (transform.digest,):
        raise GalleryError(
            f"column {staged.name!r} is staged by transform {staged.made_by[-1][:12]}, found transform "
            f"{transform.digest[:12]}: switch to the column, or discard it"
        )


def _next_column(source: Column, generation: int, transform: VectorTransform) -> Column:
    return Column(
        generation=generation,
        space=transform.target,
        state="staged",
        made_by=(*source.made_by, transform.digest),
        base=source.base or source.name,
    )


def _stage_unit(
    gallery: Gallery, transform: VectorTransform, unit: Unit, *, source: Column, column: str, progress: Progress
) -> Entry:
    checksum = hashlib.sha256()

    def vectors() -> Iterator[NDArray[np.float32]]:
        done = 0
        for batch in gallery.store.read_unit(unit, ["id", source.name]):
            block = apply_checked(transform, to_embeddings(batch, source.name, source.space))
            checksum.update(block.tobytes())
            yield block
            done += len(block)
            progress(done, unit.rows)

    receipt = gallery.store.stage_unit(unit, column, vectors())
    return Entry(unit=unit.key, rows=unit.rows, sha256=checksum.hexdigest(), receipt=receipt)


def _shifted(progress: Progress | None, before: int, total: int) -> Progress:
    """Progress of one unit as progress of the whole."""
    return lambda done, _: progress(before + done, total) if progress else None
