"""A gallery in PostgreSQL with pgvector, as one table with a vector column per generation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.errors import GalleryError, MissingGallery
from bict.gallery.ledger import Entry
from bict.gallery.lock import refuse_second, this_process
from bict.gallery.stores import pgvector_index, pgvector_search
from bict.gallery.stores.base import BATCH_ROWS, Hits, Reach, Unit, graph_work, only_vectors
from bict.gallery.stores.pgvector_link import Link, beside, compose, driver, parse, run, verbatim
from bict.gallery.stores.pgvector_notes import Notes
from bict.gallery.stores.pgvector_staging import UNIT_ROWS, Staging
from bict.gallery.stores.pgvector_table import Table, missing
from bict.gallery.stores.pgvector_trigger import Document, guard
from bict.gallery.stores.pgvector_types import Field
from bict.progress import Progress, silent

if TYPE_CHECKING:
    from psycopg import Connection

COPIES = [
    "the server's write-ahead log and its archive hold removed vectors until they are recycled",
    "replicas hold removed vectors until they have replayed what was done here",
    "base backups, snapshots and dumps made before now hold removed vectors until they are deleted",
]
PRIMARY_KEY = """
SELECT a.attname FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND i.indisprimary AND i.indnkeyatts = 1
"""


class PgvectorStore:
    """Rows of a table, made by bict or by anybody else; a unit is a range of ids, a staged unit one UPDATE.

    bict keeps notes in the tables `bict_galleries`, `bict_units` and `bict_ledger` of the same schema. While there is
    more than one vector column, a trigger empties vectors that were made from one that changes. The address is libpq's
    URI with `table=NAME` or `table=SCHEMA.NAME` for another table than `vectors`. Psycopg is imported when a store is
    first created or opened. Connections are made when needed, one for statements and one for a lock that is held; a
    pooler between must leave each its session.
    """

    units_at_once = 1

    def __init__(self, address: str) -> None:
        driver()
        self._place = parse(address)
        self.address, self.place = self._place.shown, address
        self._link = Link(self._place)
        self._table = Table(self._link)
        self._notes = Notes(self._link)
        self._staging = Staging(self._table, self._notes)

    @property
    def id_column(self) -> str:
        """Name of the id column: the primary key, until the gallery says otherwise."""
        return self._table.id_column

    @id_column.setter
    def id_column(self, name: str) -> None:
        self._table.id_column = name

    @classmethod
    def create(cls, address: str, tables: Iterable[pa.Table], metadata: str, *, unit_rows: int) -> Self:
        """Write tables of one schema as a new table, in one transaction."""
        store = cls(address)
        stream = iter(tables)
        first = next(stream, None)
        if first is None or not len(first):
            raise GalleryError(f"nothing to store in {store.address}: expected at least one row")
        store._require_extension()
        if store._table.exists():
            raise GalleryError(f"the table of {store.address} exists: name a new one, or drop it first")
        store._notes.make()
        with store._link.transaction(f"creating {store.address}") as connection:
            store._table.create(connection, first, stream)
            store._notes.note_new(connection, metadata, min(unit_rows, UNIT_ROWS), first.schema)
            guard(store._link, connection, Document.read(metadata), store._table.fields())
        store._table.analyse()
        store._begin()
        return store

    def _require_extension(self) -> None:
        if self._link.one("looking for pgvector", "SELECT count(*) FROM pg_extension WHERE extname = 'vector'"):
            return
        try:
            with self._link.doing("making the extension vector") as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except GalleryError as error:
            raise GalleryError(
                f"the database of {self.address} has no pgvector: install it on the server, and have an administrator "
                f"run CREATE EXTENSION vector there ({error.__cause__})".splitlines()[0]
            ) from error
        self._link.close()  # the next connection finds the extension's schema

    @classmethod
    def open(cls, address: str) -> Self:
        """An existing table; its primary key is taken for its ids."""
        store = cls(address)
        if not store._table.exists():
            raise MissingGallery(
                f"{store.address} is not a gallery: found no table {'.'.join(store._link.relation)}, expected one that "
                "bict embed made, or one to adopt"
            )
        store._begin()
        return store

    def _begin(self) -> None:
        key = self._link.rows("looking for the primary key", PRIMARY_KEY, self._link.relation)
        self.id_column = key[0][0] if key else self.id_column
        self._notes.document()
        self._table.remembered = self._notes.remembered()

    def spare(self) -> str:
        """A table of the same schema."""
        return beside(self.place, self._link.relation[0])

    def destroy(self) -> None:
        """Drop the table, and forget it, in one transaction."""
        with self._link.transaction("dropping the table") as connection:
            guard(self._link, connection, Document(), self._table.fields())
            run(connection, compose("DROP TABLE {t}", t=self._link.relation))
            self._notes.forget(connection)
        self._link.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._link.close()

    def reach(self) -> Reach:
        """The server, or the folder of its socket."""
        return self._link.reach()

    def read_metadata(self) -> str | None:
        """The document in `bict_galleries`, which the next `write_metadata` builds upon."""
        return self._notes.document()

    def write_metadata(self, text: str) -> None:
        """One transaction that finds the version last read, or nothing is changed."""
        self._notes.make()
        with self._link.transaction("writing the gallery's metadata") as connection:
            self._replace_document(connection, text)
        self._notes.wrote()

    def _replace_document(self, connection: Connection[tuple[object, ...]], text: str) -> None:
        guard(self._link, connection, Document.read(text), self._table.fields())
        self._notes.write(connection, text)

    def publish(self, text: str, column: str, sources: Sequence[str]) -> None:
        """One transaction during which nobody writes rows: count what is not staged, then replace the document."""
        relation = self._link.relation
        required = any(field.required for field in self._table.fields().values() if field.kind == "vector")
        mode = "ACCESS EXCLUSIVE" if required else "SHARE ROW EXCLUSIVE"  # a column that is kept must take nulls
        self._notes.make()
        with self._link.transaction(f"switching to {column!r}") as connection:
            run(connection, compose("LOCK TABLE {t} IN {mode} MODE", t=relation, mode=verbatim(mode)))
            rows = self._table.count(missing(sources, [column])) if sources else 0
            if rows:
                raise GalleryError(
                    f"{rows} rows of {self.address} were added or changed since {column!r} was staged: run again, then "
                    "verify and switch"
                )
            self._replace_document(connection, text)
        self._notes.wrote()

    def schema(self) -> pa.Schema:
        """The table's columns in Arrow types; types that Arrow has no counterpart for are text."""
        return pa.schema([pa.field(field.name, field.arrow) for field in self._table.fields().values()])

    def count(self) -> int:
        """How many rows there are."""
        return self._table.count()

    def count_missing(self, present: Sequence[str], absent: Sequence[str]) -> int:
        """One filtered count."""
        return self._table.count(missing(present, absent))

    def append(self, table: pa.Table) -> None:
        """Copy rows into a temporary table and insert them from there, in one transaction."""
        self._table.insert(table, replace=False)

    def replace(self, table: pa.Table) -> None:
        """As `append`; rows whose id is there are changed in place."""
        self._table.insert(table, replace=True)

    def delete(self, ids: pa.Array) -> int:
        """Delete rows in one transaction, then VACUUM, so that their space is used again."""
        values = self._table.id_values(ids)
        statement = compose(
            "DELETE FROM {t} WHERE {id} = ANY(%s::{type}[])",
            t=self._link.relation,
            id=self.id_column,
            type=self._table.id_type(),
        )
        with self._link.transaction("deleting rows", lock_wait=False) as connection:
            deleted = run(connection, statement, [values]).rowcount
            self._notes.forget_ids(connection, values)
        with suppress(GalleryError), self._link.doing("vacuuming") as connection:  # it will happen by itself
            run(connection, compose("VACUUM {t}", t=self._link.relation))
        return deleted

    def scan(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows by their ids, page after page; each page is as the table is when it is read."""
        for page in self._table.pages(columns, batch_rows):
            yield pa.record_batch(page.columns, names=list(columns))

    def fetch(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The rows with these ids, found by the primary key."""
        fields = self._table.fields()
        names = [self.id_column, *columns]
        where = compose("{id} = ANY(%s::{type}[])", id=self.id_column, type=self._table.id_type(fields))
        pages = self._table.pages(columns, where=where, values=[self._table.id_values(ids, fields)])
        batches = [pa.record_batch([page.ids, *page.columns], names=names) for page in pages]
        return pa.Table.from_batches(batches, pa.schema([pa.field(name, fields[name].arrow) for name in names]))

    def search(self, column: str, queries: NDArray[np.float32], k: int, metric: str, *, exact: bool = True) -> Hits:
        """Sorted by the server, or by an HNSW index where there is one and it may be used; ties by id."""
        return pgvector_search.search(self._table, column, queries, k, metric, exact=exact)

    def begin_stage(self, column: str, dim: int, metric: str) -> None:
        """Add the column as nulls, without writing rows."""
        del metric
        self._staging.begin(column, dim)

    def units(self, column: str) -> list[Unit]:
        """Ranges of ids, counted in one query."""
        return self._staging.units(column)

    def pending(
        self, column: str, sources: Sequence[str], entries: Mapping[str, Entry], *, only_missing: bool
    ) -> list[Unit]:
        """The units with a row that has no staged vector, and those that the ledger does not list; one query."""
        return self._staging.pending(column, sources, entries, only_missing=only_missing)

    def read_unit(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows with ids in one range."""
        return self._staging.read_unit(unit, columns)

    def stage_unit(self, unit: Unit, column: str, vectors: Iterable[pa.FixedSizeListArray]) -> str:
        """One COPY into a temporary table and one UPDATE; rows that changed since they were read stay unstaged."""
        return self._staging.stage_unit(unit, column, vectors)

    def commit_staged(self, column: str, entries: Mapping[str, Entry]) -> None:
        """Nothing is left to do: a staged unit is readable in its column."""

    def ledger(self, column: str) -> TableLedger:
        """Rows of `bict_ledger`."""
        return TableLedger(self._notes, column)

    def drop_column(self, column: str, kept: Sequence[str] | None = None) -> None:
        """Drop the column with its index, its units and its ledger, and the trigger where one column is left.

        A column of this name that bict did not make stays.
        """
        self._notes.make()
        with self._link.transaction(f"dropping {column!r}") as connection:
            if column in self._table.fields():
                run(connection, compose("LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE", t=self._link.relation))
            fields, document = self._table.fields(), self._notes.look()
            if column in fields and self._is_own(fields[column], document):
                others = [name for name in kept or () if name in fields]
                if only := self._table.count(missing([column], others)) if kept is not None else 0:
                    raise only_vectors(self.address, column, only)
                left = {name: field for name, field in fields.items() if name != column}
                guard(self._link, connection, document, left)
                run(connection, compose("ALTER TABLE {t} DROP COLUMN {c}", t=self._link.relation, c=column))
            self._notes.forget_column(connection, column)

    def _is_own(self, field: Field, document: Document) -> bool:
        """Whether a column is what the document says of its name: of its width, and there since staging began."""
        begun = document.states.get(field.name) != "staging" or self._notes.has_units(field.name)
        return begun and field.type_name == "vector" and field.dim in (0, document.widths.get(field.name, field.dim))

    def build_index(self, column: str, metric: str, progress: Progress = silent) -> str:
        """HNSW; more than 2,000 dimensions in half precision, and none beyond 4,000."""
        return pgvector_index.build_index(self._table, column, metric, progress)

    def index_work(self, rows: int) -> float:
        """That of a graph."""
        return graph_work(rows)

    def reclaim(self) -> list[str]:
        """Write the table anew with VACUUM FULL; meanwhile nobody else can use it."""
        with self._link.doing("rewriting the table") as connection:
            run(connection, compose("VACUUM (FULL, ANALYZE) {t}", t=self._link.relation))
        return list(COPIES)

    def advice(self) -> list[str]:
        """Each row that is staged is written anew, and so enters every vector index of the table again."""
        names = pgvector_search.vector_indexes(self._link)
        if not names:
            return []
        return [
            f"staging writes each row into the vector index {', '.join(names)} again, which is many times slower: "
            "drop it before, where searches can do without it, and build the new column's with bict upgrade index"
        ]

    def bytes_needed(self, dim: int) -> tuple[int, int | None]:
        """Four bytes a number and eight a vector; what the server has free is not known."""
        return self.count() * (4 * dim + 8), None

    @contextmanager
    def locked(self, doing: str) -> Iterator[None]:
        """An advisory lock of a connection of its own, which the server lets go when that ends."""
        digest = hashlib.sha256(repr(self._link.relation).encode()).digest()
        pair = [int.from_bytes(digest[start : start + 4], "big", signed=True) for start in (0, 4)]
        link = Link(self._place)
        notes = Notes(link)
        try:
            if not link.one("taking the gallery's lock", "SELECT pg_try_advisory_lock(%s::int, %s::int)", pair):
                raise refuse_second(self.address, notes.owner())
            link.one("keeping the lock", "SELECT set_config('idle_session_timeout', '0', false)")
            notes.set_owner(this_process(doing).model_dump_json())
            try:
                yield
            finally:
                with suppress(GalleryError):  # where the server is gone, the lock is too
                    notes.set_owner(None)
                    link.one("letting the lock go", "SELECT pg_advisory_unlock(%s::int, %s::int)", pair)
        finally:
            link.close()


class TableLedger:
    """The ledger of one column in `bict_ledger`."""

    def __init__(self, notes: Notes, column: str) -> None:
        self._notes = notes
        self._column = column

    def entries(self) -> dict[str, Entry]:
        """The newest entry of each unit, by key."""
        return self._notes.entries(self._column)

    def record(self, entry: Entry) -> None:
        """One committed row."""
        self._notes.record(self._column, entry)
