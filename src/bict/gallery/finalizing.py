"""The end of an upgrade: kept vectors are removed and their disk is freed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bict.errors import GalleryError
from bict.gallery.describing import lineage_of
from bict.gallery.gallery import Gallery
from bict.gallery.metadata import Column


@dataclass(frozen=True)
class Finalized:
    """What was removed and what is left.

    Attributes:
        dropped: columns whose vectors are gone.
        kept: columns that stay beside the live one.
        bytes_kept: what their vectors take.
        copies: where copies of removed vectors may remain.
    """

    dropped: tuple[str, ...]
    kept: tuple[str, ...]
    bytes_kept: int
    copies: tuple[str, ...]


def kept_columns(gallery: Gallery) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """The columns that `finalize` can remove: upgraded ones, and base ones, in which a model wrote some rows or all."""
    kept = [column for column in gallery.metadata.stored.values() if column.state == "kept"]
    base = tuple(column for column in kept if _holds_base(gallery, column))
    return tuple(column for column in kept if column not in base), base


def _holds_base(gallery: Gallery, column: Column) -> bool:
    """Whether a row of a column was written by a model, as far as its sources still tell."""
    told = set(column.sources) <= set(gallery.metadata.stored)
    return not told or gallery.store.count_missing([column.name], column.sources) > 0


def bytes_of(gallery: Gallery, columns: Sequence[Column]) -> int:
    """What the vectors of some columns take, four bytes a number."""
    rows = len(gallery)
    return sum(4 * column.space.dim * rows for column in columns)


def finalize(gallery: Gallery, *, drop_base: bool = False) -> Finalized:
    """Remove kept columns and free their disk; after it, no rollback to them is possible.

    Intermediate generations go first. Columns in which a model wrote rows (the base) stay unless `drop_base`:
    transforms fitted from them keep rising over later upgrades, where composed ones fall back.

    Raises:
        GalleryError: a column is staged, or rows would lose their only vector (with their number).
    """
    metadata = gallery.metadata
    if metadata.staged:
        raise GalleryError(
            f"column {metadata.staged.name!r} of {gallery.address} is {metadata.staged.state}: switch to it or discard "
            "it before finalizing"
        )
    upgraded, base = kept_columns(gallery)
    going = (*upgraded, *(base if drop_base else ()))
    staying = [name for name in metadata.stored if name not in {column.name for column in going}]
    _drop_left_behind(gallery)
    _remember_lineage(gallery, going)
    for column in going:
        _drop(gallery, column, staying)
    copies = gallery.store.reclaim()
    left = [column for column in gallery.metadata.stored.values() if column.state == "kept"]
    names = tuple(column.name for column in going), tuple(column.name for column in left)
    return Finalized(*names, bytes_of(gallery, left), tuple(copies))


def _drop(gallery: Gallery, column: Column, staying: Sequence[str]) -> None:
    """Record a column as dropped, then drop it; where that is refused, it is kept as before."""
    gallery.edit(lambda newest: newest.changed(column.name, state="dropped", index=None))
    try:
        gallery.store.drop_column(column.name, staying)
    except GalleryError:
        gallery.edit(lambda newest: newest.changed(column.name, state=column.state, index=column.index))
        raise


def _drop_left_behind(gallery: Gallery) -> None:
    """Columns whose removal was cut short by a kill: recorded as dropped, and still in the store."""
    metadata, present = gallery.metadata, gallery.store.schema().names
    for column in metadata.columns.values():
        if column.state == "dropped" and column.name in present:
            gallery.store.drop_column(column.name, list(metadata.stored))


def _remember_lineage(gallery: Gallery, going: Sequence[Column]) -> None:
    """Note where rows came from while the columns that tell it are still there."""
    names = {column.name for column in going}
    for column in gallery.metadata.stored.values():
        if names & gallery.metadata.ancestors(column) and column.name not in names and not column.lineage:
            told = tuple(lineage_of(gallery, column))
            gallery.edit(lambda newest, name=column.name, told=told: newest.changed(name, lineage=told))  # type: ignore[misc]
