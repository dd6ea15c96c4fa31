"""What a gallery holds and how far its upgrade is, for people and machines; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass

from bict.gallery.gallery import Gallery
from bict.gallery.metadata import Column, GalleryMetadata
from bict.spaces import Space


@dataclass(frozen=True)
class ColumnInfo:
    """One vector column.

    Attributes:
        name: the column.
        generation: its position in the chain.
        state: staging, staged, live, kept or dropped.
        space: of its vectors.
        rows: how many rows have a vector in it.
        written_by_model: how many of these a model wrote; the others are upgraded.
        made_from: for upgraded rows, by source column: how many and the chain of transforms from the base on.
        checked: when it was last verified, ISO 8601, None if not.
        index: its index, None without one.
    """

    name: str
    generation: int
    state: str
    space: Space
    rows: int
    written_by_model: int
    made_from: tuple[str, ...]
    checked: str | None
    index: str | None


@dataclass(frozen=True)
class GalleryInfo:
    """A gallery's rows, payload and vector columns.

    Attributes:
        address: where it is.
        rows: how many rows there are.
        unserved: rows without a vector in the live column, which searches do not find.
        payload: names of the payload columns.
        columns: oldest generation first.
    """

    address: str
    rows: int
    unserved: int
    payload: tuple[str, ...]
    columns: tuple[ColumnInfo, ...]


@dataclass(frozen=True)
class UpgradeStatus:
    """How far the upgrade of a gallery is.

    Attributes:
        address: where it is.
        live: the column that is searched.
        column: the column being staged or waiting, None without one.
        state: its state, or "none".
        units: units in all.
        units_done: units that are staged and up to date.
        rows: rows of the gallery.
        rows_done: rows of the finished units.
        checked: whether it was verified since it was last staged.
        index: its index, None without one.
        next: what to do now.
    """

    address: str
    live: str
    column: str | None
    state: str
    units: int
    units_done: int
    rows: int
    rows_done: int
    checked: bool
    index: str | None
    next: str


def info(gallery: Gallery) -> GalleryInfo:
    """Columns, spaces and the provenance of their rows."""
    metadata, rows = gallery.metadata, len(gallery)
    served = gallery.store.count_missing([gallery.active_column], [])
    columns = sorted(metadata.columns.values(), key=lambda column: column.generation)
    return GalleryInfo(
        address=gallery.address,
        rows=rows,
        unserved=rows - served,
        payload=tuple(gallery.payload_columns),
        columns=tuple(_column_info(gallery, metadata, column) for column in columns),
    )


def _column_info(gallery: Gallery, metadata: GalleryMetadata, column: Column) -> ColumnInfo:
    stored = column.name in metadata.stored and column.name in gallery.store.schema().names
    rows = gallery.store.count_missing([column.name], []) if stored else 0
    made_from: list[str] = []
    earlier: list[str] = []
    upgraded = 0
    for origin in column.origins if stored else ():
        if origin.column not in metadata.stored:
            made_from.append(f"from {origin.column} (dropped): {_chain(metadata, column, origin.column)}")
            continue
        count = _carried(gallery, column.name, origin.column, earlier)
        earlier.append(origin.column)
        upgraded += count
        made_from.append(f"{count:,} rows: {_chain(metadata, column, origin.column)}")
    return ColumnInfo(
        name=column.name,
        generation=column.generation,
        state=column.state,
        space=column.space,
        rows=rows,
        written_by_model=rows - upgraded if not any("(dropped)" in text for text in made_from) else 0,
        made_from=tuple(made_from),
        checked=column.checked.isoformat(timespec="seconds") if column.checked else None,
        index=column.index,
    )


def _carried(gallery: Gallery, column: str, source: str, earlier: list[str]) -> int:
    """Rows that have a vector in `source`, none in an earlier source, and one in the column."""
    there = gallery.store.count_missing([source], earlier)
    return there - gallery.store.count_missing([source], [*earlier, column])


def _chain(metadata: GalleryMetadata, column: Column, source: str) -> str:
    """`v1 (space) -> transform abc -> v2`, from the base on."""
    digest = next(origin.transform for origin in column.origins if origin.column == source)
    before = metadata.columns[source]
    first = f"{source} ({before.space})"
    if before.origins:
        first = _chain(metadata, before, before.origins[0].column)
    return f"{first} -> transform {digest[:12]} -> {column.name}"


def status(gallery: Gallery) -> UpgradeStatus:
    """How far the upgrade is, also while another process works on it."""
    metadata, rows = gallery.metadata, len(gallery)
    column = metadata.staged
    if column is None:
        return UpgradeStatus(
            gallery.address,
            metadata.active,
            None,
            "none",
            0,
            0,
            rows,
            0,
            checked=False,
            index=None,
            next=_next_of_live(metadata),
        )
    units = gallery.store.units(column.name)
    entries = gallery.store.ledger(column.name).entries()
    done = [unit for unit in units if unit.key in entries]
    return UpgradeStatus(
        address=gallery.address,
        live=metadata.active,
        column=column.name,
        state=column.state,
        units=len(units),
        units_done=len(done),
        rows=rows,
        rows_done=sum(unit.rows for unit in done),
        checked=column.checked is not None,
        index=column.index,
        next=_next_of_staged(column, len(units) - len(done)),
    )


def _next_of_live(metadata: GalleryMetadata) -> str:
    if metadata.previous:
        return "bict upgrade rollback goes back, bict upgrade finalize removes what is kept"
    return "nothing is under way: bict upgrade plan GALLERY TRANSFORM"


def _next_of_staged(column: Column, left: int) -> str:
    if column.state == "staging" or left:
        return "bict upgrade run GALLERY TRANSFORM goes on; bict upgrade discard gives it up"
    if column.checked is None:
        return "bict upgrade verify GALLERY TRANSFORM"
    if column.index is None:
        return "bict upgrade index builds its index, or bict upgrade switch goes live without one"
    return "bict upgrade switch goes live"
