"""A gallery in a Qdrant collection, on a server or in a folder of the official client's local mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.errors import GalleryError, MissingGallery
from bict.gallery.ledger import Entry
from bict.gallery.lock import locked_file
from bict.gallery.metadata import VECTOR_COLUMN, Column, parse_metadata
from bict.gallery.stores import qdrant_search
from bict.gallery.stores.base import (
    BATCH_ROWS,
    Hits,
    Reach,
    Unit,
    check_vector_columns,
    graph_work,
    only_vectors,
    require_same_columns,
    require_staged,
)
from bict.gallery.stores.qdrant_collection import ID_COLUMN, Collection
from bict.gallery.stores.qdrant_index import build_index, set_edges
from bict.gallery.stores.qdrant_link import Link, Place, beside, connect, parse
from bict.gallery.stores.qdrant_points import ROWS_AT_ONCE, has_vector, plain_id, point_id, refuse_unfit
from bict.gallery.stores.qdrant_ranges import UNIT_ROWS, Ranges
from bict.gallery.stores.qdrant_side import CREATING, SCHEMA, Side, SideLedger, leased
from bict.progress import Progress, silent


class QdrantStore:
    """Rows as points: an id, payload, and one named vector per column; a unit is a range of the order by id.

    A new column is one more named vector, written to points that otherwise stay as they are: readable at once, and not
    searched before the metadata says so. Vectors are kept under Distance.DOT or EUCLID, for Qdrant scales those under
    COSINE to unit length. Metadata, ledger and units are notes in a second collection, `NAME__bict`. Points do not tell
    whether a vector changed after another was made from it; checksums in the ledger do, unit by unit.
    """

    units_at_once = 1

    def __init__(self, address: str) -> None:
        place = parse(address)
        client = connect(place, self)
        self.address = place.shown
        self.place = None if place.folder else address
        self._place = place
        self._link = Link(client, place)
        self._side = Side(Link(client, place.side))
        self._points = Collection(self._link, self._side)
        self._ranges = Ranges(self._link, self._side, self._points)
        self._looked_at: str | None = None

    @property
    def id_column(self) -> str:
        """What the ids of points are called."""
        return ID_COLUMN

    @id_column.setter
    def id_column(self, name: str) -> None:
        if name != ID_COLUMN:
            raise GalleryError(f"rows of {self.address} have the ids of its points, called {ID_COLUMN!r}, not {name!r}")

    @classmethod
    def create(cls, address: str, tables: Iterable[pa.Table], metadata: str, *, unit_rows: int) -> Self:
        """Write tables of one schema as a new collection, noted as unfinished until everything is there."""
        _refuse_foreign_folder(parse(address))
        store = cls(address)
        if store._link.exists():
            raise GalleryError(f"{address} exists already: name a new collection, or delete it first")
        stream = iter(tables)
        first = next(stream, None)
        if first is None or not len(first):
            raise GalleryError(f"nothing to store in {address}: expected at least one row")
        try:
            store._write(first, stream, metadata, unit_rows)
        except BaseException:
            with suppress(GalleryError):
                store.destroy()
            raise
        return store

    def _write(self, first: pa.Table, rest: Iterable[pa.Table], metadata: str, unit_rows: int) -> None:
        schema = check_vector_columns(first).schema.remove_metadata()
        if ID_COLUMN not in schema.names:
            raise GalleryError(f"found columns {', '.join(schema.names)}, expected one of ids, called {ID_COLUMN!r}")
        vectors = [f.name for f in schema if VECTOR_COLUMN.fullmatch(f.name) and pa.types.is_fixed_size_list(f.type)]
        plain = [schema.field(name) for name in schema.names if name not in (ID_COLUMN, *vectors)]
        refuse_unfit(schema, [column.name for column in plain])
        if self._side.exists():  # beside a collection that was deleted
            self._side.remove()
        self._side.write(CREATING, {})
        sizes = {name: _params(schema.field(name).type.list_size, _metric_of(metadata, name)) for name in vectors}
        self._link.ask("making the collection", "create_collection", vectors_config=sizes)
        self._points.note_schema(pa.schema([schema.field(ID_COLUMN), *plain]), min(unit_rows, UNIT_ROWS))
        self._points.write(first)
        for table in rest:
            self._points.write(require_same_columns(table.replace_schema_metadata(None), schema))
        self._side.write_metadata(metadata)
        self._side.erase(CREATING)

    @classmethod
    def open(cls, address: str) -> Self:
        """An existing collection of named vectors, whether bict made it or not."""
        place = parse(address)
        missing = MissingGallery(f"{address} is not a gallery: found no collection {place.collection!r} there")
        if place.folder and not (place.folder / "meta.json").is_file():
            raise missing
        store = cls(address)
        if not store._link.exists():
            raise missing
        if store._side.read(CREATING) is not None:
            raise GalleryError(
                f"{address} is not a gallery yet, its first writing was cut off: delete the collections "
                f"{place.collection!r} and {place.side.collection!r}, and embed again"
            )
        store._points.named()
        store.read_metadata()
        return store

    def spare(self) -> str:
        """A collection of the same server."""
        if self._place.folder:
            raise GalleryError(f"{self.address} admits one process and has no room for a trial: move it to a server")
        return beside(self.address)

    def destroy(self) -> None:
        """Remove the collection and its notes."""
        self._link.ask("removing it", "delete_collection")
        self._side.remove()

    def reach(self) -> Reach:
        """The server, or the folder."""
        if self._place.folder:
            return Reach(paths=(self._place.folder,))
        return Reach(servers=((self._place.host, self._place.port),))

    def read_metadata(self) -> str | None:
        """The document among the notes, which the next `write_metadata` builds upon.

        None where it is about an earlier collection of the same name, which was deleted without its notes.
        """
        text = self._side.read_metadata()
        if text is not None and text != self._looked_at and not self._is_about_this(text):
            self._side.set_outlived()
            return None
        self._looked_at = text
        return text

    def _is_about_this(self, text: str) -> bool:
        """Whether the collection has the vector that a document calls live; one that cannot be read is left alone."""
        try:
            live = parse_metadata(text, self.address).active_column
        except GalleryError:
            return True
        found = self._points.named().get(live.name)
        return found is not None and found.size == live.space.dim

    def write_metadata(self, text: str) -> None:
        """One change of a note that still holds what was read, and a look at whose change came through."""
        if self._side.read(SCHEMA) is None:  # a collection that bict did not make
            self._points.note_schema(self._points.ids_and_payload(), UNIT_ROWS)
        self._side.write_metadata(text)

    def publish(self, text: str, column: str, sources: Sequence[str]) -> None:
        """`write_metadata` between two checks; taken back at once where rows came in between."""
        before = self._side.document
        self._require_staged(text, column, sources)
        self.write_metadata(text)
        try:
            self._require_staged(text, column, sources)
        except GalleryError:
            if before is not None:
                self.write_metadata(before)
            raise

    def _require_staged(self, text: str, column: str, sources: Sequence[str]) -> None:
        """As `require_staged` for what the column is made from, by count for the others: no checksum is about them."""
        parsed = _columns_of(text).get(column)
        made_from = [name for name in sources if parsed is None or name in parsed.sources]
        require_staged(self, column, made_from)
        others = [name for name in sources if name not in made_from]
        rows = self.count_missing(others, [column]) if others else 0
        if rows:
            raise GalleryError(
                f"{rows} rows of {self.address} have a vector in {', '.join(others)} and none in {column!r}: run "
                "again, then verify and switch"
            )

    def schema(self) -> pa.Schema:
        """Ids, payload and vectors; the payload of an adopted collection is typed as its first points have it."""
        return self._points.schema()

    def count(self) -> int:
        """How many points there are."""
        return self._points.count()

    def count_missing(self, present: Sequence[str], absent: Sequence[str]) -> int:
        """One filtered count."""
        named = self._points.named()
        there = [name for name in present if name in named]
        if present and not there:
            return 0
        return self._points.count(has_vector(there, [name for name in absent if name in named]))

    def append(self, table: pa.Table) -> None:
        """Add points, a piece of bounded size at a time, each in one step.

        A kill in the middle leaves the first pieces; adding the same rows again with `replace` completes them.
        """
        self._points.write(table)

    def replace(self, table: pa.Table) -> None:
        """Put whole points in the place of those with the same ids, in pieces as `append` does."""
        self._points.write(table)

    def delete(self, ids: pa.Array) -> int:
        """Delete points, their ids in the notes and, in a folder, their bytes; what was cut off is done the next time.

        A server erases bytes when it rewrites their segment.
        """
        from qdrant_client.models import PointIdsList  # noqa: PLC0415

        records = self._points.find(ids, self._points.columns([ID_COLUMN]).wanted)
        points = [plain_id(record) for record in records]
        for start in range(0, len(points), ROWS_AT_ONCE):
            some = PointIdsList(points=list(points[start : start + ROWS_AT_ONCE]))
            self._link.change("deleting points", "delete", points_selector=some)
        asked = {point_id(value) for value in self._points.row_ids(ids)}
        for column in {*self._points.named(), *_columns_of(self._side.document)}:
            self._side.join_units(column, asked)
        self._erase_free_pages()
        return len(points)

    def _erase_free_pages(self) -> bool:
        """In a folder, write rows and notes anew without what was deleted; whether that could be done."""
        return self._link.local and all([self._link.erase_free_pages(), self._side.erase_free_pages()])

    def scan(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All points, by id."""
        chosen = self._points.columns(columns)
        for records in self._points.pages(min(batch_rows, chosen.rows_at_once), chosen.wanted):
            yield chosen.batch(records)

    def fetch(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The points themselves, asked for by id."""
        chosen = self._points.columns([ID_COLUMN, *columns])
        return pa.Table.from_batches([chosen.batch(self._points.find(ids, chosen.wanted))])

    def search(self, column: str, queries: NDArray[np.float32], k: int, metric: str, *, exact: bool = True) -> Hits:
        """One pass over the column, or Qdrant's own search with the scores of what it found computed again."""
        return qdrant_search.search(self._link, self._points, column, queries, k, metric, exact=exact)

    def begin_stage(self, column: str, dim: int, metric: str) -> None:
        """Add a named vector, without an index while it is written, and note where the units begin."""
        from qdrant_client.models import DenseVectorConfig, DenseVectorNameConfig  # noqa: PLC0415

        params, found = _params(dim, metric), self._points.named().get(column)
        if found is None or (found.size, found.distance) != (params.size, params.distance):
            other = self._points.described(column)
            if other:
                raise GalleryError(
                    f"column {column!r} of {self.address} is there already, as {other}: rename or remove it"
                )
            config = DenseVectorNameConfig(dense=DenseVectorConfig(size=dim, distance=params.distance))
            self._link.change(
                "adding a named vector (Qdrant 1.18 or newer can)",
                "create_vector_name",
                vector_name=column,
                vector_name_config=config,
            )
            set_edges(self._link, column, 0)
        self._ranges.note(column)

    def units(self, column: str) -> list[Unit]:
        """Ranges of ids, which stay when points come and go; the key names the range."""
        return self._ranges.units(column)

    def pending(
        self, column: str, sources: Sequence[str], entries: Mapping[str, Entry], *, only_missing: bool
    ) -> list[Unit]:
        """The units with a vector to stage: not in the ledger, missing, or made from one that is not there any more."""
        return self._ranges.pending(column, sources, entries, only_missing=only_missing)

    def read_unit(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The points of one range."""
        return self._ranges.read(unit, columns)

    def stage_unit(self, unit: Unit, column: str, vectors: Iterable[pa.FixedSizeListArray]) -> str:
        """Write the vectors of the points that `read_unit` read, page by page; what is deleted meanwhile stays so.

        A point whose vector is null keeps what it has: it has no source, and a model may have written that.
        """
        self._ranges.stage(unit, column, vectors)
        return "written"

    def commit_staged(self, column: str, entries: Mapping[str, Entry]) -> None:
        """Nothing to do: what was written is readable already."""

    def ledger(self, column: str) -> SideLedger:
        """Notes in the second collection."""
        return SideLedger(self._side, column, self.address)

    def drop_column(self, column: str, kept: Sequence[str] | None = None) -> None:
        """Remove the named vector from the collection, its notes and, in a folder, their bytes."""
        there = column in self._points.named()
        lost = 0 if kept is None else self.count_missing([column], kept)
        if lost:
            raise only_vectors(self.address, column, lost)
        if there:
            self._link.change("removing a named vector", "delete_vector_name", vector_name=column)
        self._side.forget(column)
        self._erase_free_pages()

    def build_index(self, column: str, metric: str, progress: Progress = silent) -> str:
        """Let Qdrant build its graph over the vector, and wait until its optimizers are done."""
        del metric
        return build_index(self._link, column, self.count_missing([column], []), progress)

    def index_work(self, rows: int) -> float:
        """That of a graph."""
        return graph_work(rows)

    def reclaim(self) -> list[str]:
        """In a folder, write the file anew without what was deleted; a server does so when it rewrites segments."""
        if self._link.local:
            done = self._erase_free_pages()
            return [] if done else [f"free pages of the database files in {self._place.folder}"]
        copies = [f"segments and write-ahead log of {self.address}, until Qdrant's optimizers have rewritten them"]
        snapshots = self._link.ask("listing snapshots", "list_snapshots")
        if snapshots:
            copies.append(f"snapshots of {self.address}: {', '.join(sorted(found.name for found in snapshots))}")
        return copies

    def advice(self) -> list[str]:
        """A named vector of its own is written beside the others, without an index under it."""
        return []

    def bytes_needed(self, dim: int) -> tuple[int, int | None]:
        """Four bytes a number, and what the disk of a folder has free; a server does not say."""
        return 4 * dim * self.count(), self._link.free_bytes()

    def locked(self, owner: str) -> AbstractContextManager[None]:
        """A lease among the notes, or a lock on a file in the folder, which the system lets go with the process."""
        if self._place.folder:
            return locked_file(self._place.folder / f"{self._place.side.collection}.lock", owner, self.address)
        return leased(self._side, owner, self.address)


def _params(dim: int, metric: str) -> Any:  # noqa: ANN401
    """A vector that Qdrant keeps as it was given."""
    from qdrant_client.models import Distance, VectorParams  # noqa: PLC0415

    return VectorParams(size=dim, distance=Distance.EUCLID if metric == "l2" else Distance.DOT)


def _metric_of(metadata: str, column: str) -> str:
    """The metric that the metadata gives for a column."""
    found = _columns_of(metadata).get(column)
    return found.space.metric if found else "dot"


def _columns_of(metadata: str | None) -> Mapping[str, Column]:
    """The columns that metadata name, none where it cannot be read."""
    with suppress(GalleryError):
        return parse_metadata(metadata, "").columns
    return {}


def _refuse_foreign_folder(place: Place) -> None:
    folder = place.folder
    if folder is None or (folder / "meta.json").is_file() or not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise GalleryError(f"{place.shown} exists and is no folder of Qdrant's local mode: name a new one")
