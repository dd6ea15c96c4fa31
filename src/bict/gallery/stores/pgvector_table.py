"""The rows of one PostgreSQL table: read in pages of whole columns, written by binary COPY."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.errors import GalleryError, UnknownName
from bict.gallery.stores.base import check_vector_columns, require_same_columns
from bict.gallery.stores.pgvector_link import NAME_BYTES, Link, compose, copying, joined, run, verbatim
from bict.gallery.stores.pgvector_types import (
    ID_TYPES,
    KINDS,
    Field,
    RawVectors,
    aggregate,
    copy_blocks,
    decode,
    stored_as,
)

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable, Composed

PAGE_ROWS = 2048
PAGE_BYTES = 2**25
ROWS = ("pg_temp", "bict_rows")
CATALOGUE = """
SELECT a.attname, t.typname, a.atttypmod, format_type(a.atttypid, -1), a.attnotnull, a.attgenerated <> '',
    a.attnotnull AND EXISTS (
        SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
        AND i.indimmediate AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum AND i.indpred IS NULL)
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
EXISTS = "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL"


class Page(NamedTuple):
    """Some rows: their ids, which transaction wrote each, the columns asked for, and the bytes of vector columns."""

    ids: pa.Array
    written: NDArray[np.int64]
    columns: list[pa.Array]
    raw: list[RawVectors]


class Table:
    """Reads and writes the rows of one table; knows no more of bict than the Arrow types that `create` remembered."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.id_column = "id"
        self.remembered: dict[str, pa.DataType] = {}

    @property
    def shown(self) -> str:
        """The address, without a password."""
        return self.link.place.shown

    def exists(self) -> bool:
        """Whether anything has the table's name."""
        return bool(self.link.one("finding the table", EXISTS, self.link.relation))

    def fields(self) -> dict[str, Field]:
        """The table's columns, by name."""
        found = {}
        for name, kind, width, sql, required, generated, unique in self.link.rows(
            "reading the columns", CATALOGUE, self.link.relation
        ):
            arrow, known = self._arrow_of(name, kind, width), kind if kind in KINDS else "text"
            known = "text" if kind in ("vector", "jsonb") and arrow == pa.string() else known
            traits = {"is_id": unique and kind in ID_TYPES, "required": required, "generated": generated}
            found[name] = Field(name, known, arrow, sql, kind, **traits, declared=kind != "vector" or width > 0)
        if not found:
            raise GalleryError(f"{self.shown} is not a gallery any more: the table is gone")
        return found

    def _arrow_of(self, name: str, kind: str, width: int) -> pa.DataType:
        """What a column is shown as: as `create` was given it where that is known, text for types that Arrow lacks."""
        if kind == "vector":
            dim = width if width > 0 else self._first_width(name)
            return pa.list_(pa.float32(), dim) if dim else pa.string()
        remembered = self.remembered.get(name)
        if remembered is not None and stored_as(name, remembered).kind == kind:
            return remembered
        if kind == "jsonb":
            return pa.string()
        return KINDS[kind].arrow if kind in KINDS else pa.string()

    def _first_width(self, name: str) -> int | None:
        """The width of the first vector of a column that declares none."""
        query = "SELECT vector_dims({name}) FROM {table} WHERE {name} IS NOT NULL LIMIT 1"
        found = self.link.rows("reading a vector", compose(query, name=name, table=self.link.relation))
        return int(found[0][0]) if found else None

    def field(self, name: str) -> Field:
        """One column.

        Raises:
            GalleryError: there is none of this name.
        """
        return self._named(self.fields(), name)

    def _named(self, fields: dict[str, Field], name: str) -> Field:
        if name not in fields:
            raise GalleryError(f"{self.shown} has no column {name!r}: found {', '.join(fields)}")
        return fields[name]

    def id_type(self, fields: dict[str, Field] | None = None) -> Composed:
        """The type that values compared with ids are cast to.

        Raises:
            GalleryError: rows cannot be found by the id column.
        """
        field = self._named(fields or self.fields(), self.id_column)
        if not field.is_id:
            raise GalleryError(
                f"column {field.name!r} of {self.shown} is no key ({field.type}): rows are found by it, so it must be "
                "text, uuid or an integer, with NOT NULL and a primary key or unique index of its own"
            )
        return compose("{type}", type=verbatim(ID_TYPES[field.type_name][0]))

    def id_values(self, ids: pa.Array | pa.ChunkedArray, fields: dict[str, Field] | None = None) -> list[Any]:
        """Ids as parameters of a statement; text that is no UUID names no row of a table with UUIDs."""
        values: list[Any] = ids.to_pylist()
        if self._named(fields or self.fields(), self.id_column).type_name != "uuid":
            return values
        kept = []
        for value in values:
            with suppress(ValueError):
                kept.append(str(uuid.UUID(str(value))))
        return kept

    def pages(
        self, names: Sequence[str], rows: int = PAGE_ROWS, where: Composable | None = None, values: Sequence[Any] = ()
    ) -> Iterator[Page]:
        """The rows that meet a condition, in the order of their ids; nothing stays open between two pages."""
        fields = self.fields()
        chosen = [self._named(fields, name) for name in names]
        rows = max(1, min(rows, PAGE_ROWS, PAGE_BYTES // max(1, sum(4 * field.dim for field in chosen))))
        id_type = self.id_type(fields)
        id_field = fields[self.id_column]
        after, last = compose("{id} > %s::{type}", id=self.id_column, type=id_type), None
        while True:
            conditions = [*([where] if where is not None else []), *([after] if last is not None else [])]
            statement = self._page(id_field, chosen, conditions)
            parameters = [*values, *([last] if last is not None else []), rows]
            ids, written, *gathered = self.link.rows("reading rows", statement, parameters)[0]
            if not ids:
                return
            columns, raw = decode(chosen, gathered)
            yield Page(pa.array(ids, id_field.arrow), np.array(written, np.int64), columns, raw)
            if len(ids) < rows:
                return
            last = ids[-1]

    def _page(self, id_field: Field, chosen: Sequence[Field], conditions: Sequence[Composable]) -> Composed:
        """A statement that gathers the columns of a page, each as one value."""
        read = [compose(f"{KINDS[f.kind].read} AS c{n}", column=f.name) for n, f in enumerate(chosen)]
        key = compose("{id}::text AS id" if pa.types.is_string(id_field.arrow) else "{id} AS id", id=id_field.name)
        gathered = [compose(aggregate(number, field)) for number, field in enumerate(chosen)]
        return compose(
            "SELECT array_agg(id), array_agg(written) {more} {gathered} "
            "FROM (SELECT {read}, xmin::text::bigint AS written "
            "FROM {table} {where} {conditions} ORDER BY {id} LIMIT %s) AS page",
            more=compose("," if gathered else ""),
            gathered=gathered,
            read=[key, *read],
            table=self.link.relation,
            where=compose("WHERE" if conditions else ""),
            conditions=joined(" AND ", conditions),
            id=id_field.name,
        )

    def count(self, condition: Composable | None = None) -> int:
        """How many rows meet a condition."""
        whole = compose("SELECT count(*) FROM {table} {where}", table=self.link.relation, where=_where(condition))
        return int(self.link.one("counting rows", whole))

    def analyse(self) -> None:
        """Have the server look how ids are spread, by which it plans; what forbids that is no reason to stop."""
        statement = compose("ANALYZE {t} ({id})", t=self.link.relation, id=self.id_column)
        with suppress(GalleryError), self.link.doing("analysing") as connection:
            run(connection, statement)

    def create(self, connection: Connection[Any], first: pa.Table, rest: Iterable[pa.Table]) -> None:
        """Make the table and fill it, within the caller's transaction."""
        fields = [stored_as(field.name, field.type) for field in first.schema]
        long = next((field.name for field in fields if len(field.name.encode()) > NAME_BYTES), None)
        if long:
            raise GalleryError(f"column name {long!r} is longer than {NAME_BYTES} bytes: rename the column")
        relation = self.link.relation
        run(connection, compose("CREATE TABLE {t} ({columns})", t=relation, columns=_definitions(fields)))
        self._copy(connection, relation, check_vector_columns(first), fields)
        for table in rest:
            same = table.replace_schema_metadata(first.schema.metadata)
            self._copy(connection, relation, check_vector_columns(require_same_columns(same, first.schema)), fields)
        run(connection, compose("ALTER TABLE {t} ADD PRIMARY KEY ({id})", t=relation, id=self.id_column))

    def _copy(
        self, connection: Connection[Any], relation: tuple[str, str], table: pa.Table, fields: Sequence[Field]
    ) -> None:
        names = [field.name for field in fields]
        statement = compose("COPY {t} ({names}) FROM STDIN (FORMAT binary)", t=relation, names=names)
        with copying(connection, statement) as copy:
            for block in copy_blocks(table, fields):
                copy.write(block)

    def insert(self, table: pa.Table, *, replace: bool) -> None:
        """Add rows, or put them in the place of those with the same ids; absent vector columns become null."""
        fields = self.fields()
        unknown = next((name for name in table.column_names if name not in fields), None)
        if unknown:
            raise UnknownName(f"column of {self.shown}", unknown, fields)
        written = [field for field in fields.values() if field.name in table.column_names and not field.generated]
        check_vector_columns(table)
        names = [field.name for field in written]
        values = [compose("{c}::{type}", c=field.name, type=verbatim(field.type)) for field in written]
        statement = compose(
            "INSERT INTO {t} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {rows} {conflict}",
            t=self.link.relation,
            names=names,
            values=values,
            rows=ROWS,
            conflict=self._replacing(fields, names) if replace else compose(""),
        )
        with self.link.transaction("writing rows", lock_wait=False) as connection:
            run(
                connection,
                compose("CREATE TEMP TABLE bict_rows ({columns}) ON COMMIT DROP", columns=_definitions(written)),
            )
            self._copy(connection, ROWS, table, written)
            run(connection, statement)

    def _replacing(self, fields: dict[str, Field], names: Sequence[str]) -> Composed:
        new = [compose("{c} = EXCLUDED.{c}", c=name) for name in names if name != self.id_column]
        absent = [name for name, field in fields.items() if field.kind == "vector" and name not in names]
        gone = [compose("{c} = NULL", c=name) for name in absent]
        return compose("ON CONFLICT ({id}) DO UPDATE SET {changes}", id=self.id_column, changes=[*new, *gone])


def missing(present: Sequence[str], absent: Sequence[str]) -> Composed:
    """The condition that a row has a vector in one of `present`, or that is empty, and in none of `absent`."""
    some = [compose("{c} IS NOT NULL", c=name) for name in present] or [compose("TRUE")]
    none = [compose("{c} IS NULL", c=name) for name in absent]
    return joined(" AND ", [compose("({some})", some=joined(" OR ", some)), *none])


def _where(condition: Composable | None) -> Composed:
    return compose("") if condition is None else compose("WHERE {condition}", condition=condition)


def _definitions(fields: Sequence[Field]) -> list[Composed]:
    """Names and types of columns; a vector column declares its width."""
    return [
        compose("{name} vector({dim})", name=field.name, dim=field.dim)
        if field.kind == "vector"
        else compose("{name} {type}", name=field.name, type=verbatim(KINDS[field.kind].sql))
        for field in fields
    ]
