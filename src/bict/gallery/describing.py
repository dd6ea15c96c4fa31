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
        made_from: how many of them came which way: written by a model, or from which base through which transforms.
        checked: when it was last verified, ISO 8601, None if not.
        index: its index, None without one.
    """

    name: str
    generation: int
    state: str
    space: Space
    rows: int
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
    return ColumnInfo(
        name=column.name,
        generation=column.generation,
        state=column.state,
        space=column.space,
        rows=gallery.store.count_missing([column.name], []) if stored else 0,
        made_from=tuple(lineage_of(gallery, column)) if stored else (),
        checked=column.checked.isoformat(timespec="seconds") if column.checked else None,
        index=column.index,
    )


def lineage_of(gallery: Gallery, column: Column) -> list[str]:
    """How many rows of a column came which way: `N rows: v1 (space) -> transform abc -> v2`, from the base on."""
    metadata = gallery.metadata
    if not metadata.ancestors(column) <= set(metadata.stored):
        return [*column.lineage, "as it was when earlier columns were removed; rows written since are not counted"]
    found = []
    for text, base, absent in _paths(metadata, column):
        rows = gallery.store.count_missing([base], absent)
        if base != column.name:
            rows -= gallery.store.count_missing([base], [*absent, column.name])
        if rows:
            found.append(f"{rows:,} rows: {text}")
    return found


def _paths(metadata: GalleryMetadata, column: Column) -> list[tuple[str, str, list[str]]]:
    """Each way into a column: its text, the base column of its rows, and columns in which they have no vector."""
    found: list[tuple[str, str, list[str]]] = []
    earlier: list[str] = []
    for origin in column.origins:
        step = f" -> transform {origin.transform[:12]} -> {column.name}"
        found += [
            (text + step, base, list(dict.fromkeys([*absent, *earlier])))
            for text, base, absent in _paths(metadata, metadata.columns[origin.column])
        ]
        earlier.append(origin.column)
    return [*found, (f"{column.name} ({column.space}), written by its model", column.name, list(column.sources))]


def status(gallery: Gallery) -> UpgradeStatus:
    """How far the upgrade is, also while another process works on it."""
    metadata, rows = gallery.metadata, len(gallery)
    column = metadata.staged
    if column is None:
        unserved = rows - gallery.store.count_missing([metadata.active], [])
        return UpgradeStatus(
            address=gallery.address,
            live=metadata.active,
            column=None,
            state="none",
            units=0,
            units_done=0,
            rows=rows,
            rows_done=0,
            checked=False,
            index=metadata.active_column.index,
            next=_next_of_live(metadata, unserved),
        )
    store = gallery.store
    units, entries = store.units(column.name), store.ledger(column.name).entries()
    waiting = store.pending(column.name, column.sources, entries, only_missing=True)
    return UpgradeStatus(
        address=gallery.address,
        live=metadata.active,
        column=column.name,
        state=column.state,
        units=len(units),
        units_done=len(units) - len(waiting),
        rows=rows,
        rows_done=rows - sum(unit.rows for unit in waiting),
        checked=column.checked is not None,
        index=column.index,
        next=_next_of_staged(column, len(waiting)),
    )


def _next_of_live(metadata: GalleryMetadata, unserved: int) -> str:
    if unserved and metadata.active_column.origins:
        return f"{unserved} rows have no vector in the live column: bict upgrade run GALLERY TRANSFORM fills them in"
    if metadata.previous:
        return "bict upgrade rollback goes back, bict upgrade finalize removes what is kept"
    return "nothing is under way: bict upgrade plan GALLERY TRANSFORM"


def _next_of_staged(column: Column, left: int) -> str:
    made = f"with transform {', '.join(origin.transform[:12] for origin in column.origins)}"
    if column.state == "staging" or left:
        return f"bict upgrade run GALLERY TRANSFORM goes on, {made}; bict upgrade discard gives it up"
    if column.checked is None:
        return f"bict upgrade verify GALLERY TRANSFORM, {made}; bict upgrade discard gives it up"
    if column.index is None:
        return "bict upgrade index builds its index, or bict upgrade switch goes live without one"
    return "bict upgrade switch goes live"
