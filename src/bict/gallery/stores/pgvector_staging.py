"""Units of a PostgreSQL table, and vectors staged for one of them by COPY and one UPDATE."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from bict.errors import GalleryError
from bict.gallery.ledger import Entry
from bict.gallery.stores.base import Unit
from bict.gallery.stores.pgvector_link import compose, copying, driver, joined, run, verbatim
from bict.gallery.stores.pgvector_notes import Notes, keys
from bict.gallery.stores.pgvector_table import Page, Table, missing
from bict.gallery.stores.pgvector_trigger import STAGING, guard
from bict.gallery.stores.pgvector_types import COPY_BEGIN, COPY_END, KINDS, Field, encode, fixed, joined_rows

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

UNIT_ROWS = 20_000
STAGED = ("pg_temp", "bict_staged")
TRIES = 5


@dataclass
class Seen:
    """What was read of a unit: for each row its id, the transaction that wrote it and a hash of the vectors read.

    Attributes:
        key: the unit's.
        columns: the vector columns that were read.
        pages: ids, transactions and hashes, as COPY fields.
        rows: how many there are.
        whole: whether all rows of the unit were read.
    """

    key: str
    columns: tuple[str, ...]
    pages: list[tuple[pa.Array, pa.Array, pa.Array]] = field(default_factory=list)
    rows: int = 0
    whole: bool = False

    def add(self, page: Page, id_field: Field) -> None:
        """Remember a page."""
        hashes = bytearray()
        for pieces in zip(*(raw.pieces() for raw in page.raw), strict=True) if page.raw else ():
            hashes += hashlib.sha256(b"".join(pieces) if len(pieces) > 1 else pieces[0]).digest()
        digests = np.frombuffer(hashes or bytes(32 * len(page.ids)), np.uint8).reshape(len(page.ids), 32)
        written = page.written.astype(">u4").view(np.uint8).reshape(-1, 4)
        self.pages.append((encode(page.ids, id_field), fixed(written), fixed(digests)))
        self.rows += len(page.ids)

    def take(self, start: int, rows: int) -> list[pa.Array]:
        """The fields of some rows."""
        parts, before = [], 0
        for page in self.pages:
            first, last = max(start - before, 0), min(start + rows - before, len(page[0]))
            if first < last:
                parts.append([column.slice(first, last - first) for column in page])
            before += len(page[0])
        return [pa.concat_arrays([part[number] for part in parts]) for number in range(3)]


class Staging:
    """How the columns of one table are staged.

    A unit is a range of ids. Its vectors are copied into a temporary table and set by one UPDATE, which leaves out
    each row that was written since it was read, unless the vectors that were read are in it still.
    """

    def __init__(self, table: Table, notes: Notes) -> None:
        self.table, self.notes, self.link = table, notes, table.link
        self._seen = Seen("", ())

    def begin(self, column: str, dim: int) -> None:
        """Add the column where it is missing, have the trigger know it, and cut the rows into units.

        Raises:
            GalleryError: there is a column of this name that is another one.
        """
        fields = self.table.fields()
        id_type = self.table.id_type(fields)
        if column in fields and (fields[column].dim != dim or fields[column].generated):
            raise GalleryError(
                f"column {column!r} of {self.table.shown} is there already, as {fields[column].sql}: rename it, then "
                "run the same command again"
            )
        self.notes.make()
        document = self.notes.look()
        with self.link.transaction(f"beginning to stage {column!r}") as connection:
            if column not in fields:
                statement = "ALTER TABLE {t} ADD COLUMN {c} vector({dim})"
                run(connection, compose(statement, t=self.link.relation, c=column, dim=dim))
            guard(self.link, connection, document, self.table.fields())
            self.notes.hold(connection)
            bounds = self.notes.bounds(column)
            more = self._bounds_after(connection, bounds[-1] if bounds else None, id_type)
            if more or not bounds:
                self.notes.set_bounds(connection, column, [*bounds, *more])
        if column not in fields:
            self.table.analyse()

    def _bounds_after(self, connection: Connection[Any], low: str | None, id_type: Composed) -> list[str]:
        """Where units begin after the last one that is known, once that has grown beyond twice a unit's rows."""
        unit_rows = min(UNIT_ROWS, self.notes.unit_rows() or UNIT_ROWS)
        where = compose("" if low is None else "WHERE {id} >= %s::{type}", id=self.table.id_column, type=id_type)
        statement = compose(
            "SELECT id FROM "
            "(SELECT {id}::text AS id, row_number() OVER (ORDER BY {id}) - 1 AS n FROM {t} {where}) AS s "
            "WHERE n > 0 AND n %% %s = 0 ORDER BY n",
            id=self.table.id_column,
            t=self.link.relation,
            where=where,
        )
        values = [*([] if low is None else [low]), unit_rows]
        found = [bound for (bound,) in run(connection, statement, values).fetchall()]
        return found if low is None or len(found) > 1 else []

    def units(self, column: str) -> list[Unit]:
        """The units that have rows."""
        return [Unit(key, rows) for key, rows, *_ in self._counts(column, [], column)]

    def pending(
        self, column: str, sources: Sequence[str], entries: Mapping[str, Entry], *, only_missing: bool
    ) -> list[Unit]:
        """Units with a row to stage: one that has no vector yet or, unless those count as done, no ledger entry."""
        return [
            Unit(key, rows)
            for key, rows, there, empty in self._counts(column, sources, column)
            if empty or (there and not only_missing and key not in entries)
        ]

    def _counts(self, column: str, sources: Sequence[str], absent: str) -> list[tuple[str, int, int, int]]:
        """Of each unit with rows: its key, rows, rows with a source vector, and of these those without their own."""
        fields, bounds = self.table.fields(), self.notes.bounds(column)
        id_type, none = self.table.id_type(fields), [absent] if absent in fields else []  # not yet, or not any more
        statement = compose(
            "SELECT width_bucket({id}, %s::{type}[]) AS unit, count(*), count(*) FILTER (WHERE {there}), "
            "count(*) FILTER (WHERE {empty}) FROM {t} GROUP BY unit ORDER BY unit",
            id=self.table.id_column,
            type=id_type,
            there=missing(sources, []) if sources else compose("FALSE"),
            empty=missing(sources, none) if sources else compose("FALSE"),
            t=self.link.relation,
        )
        names = keys(bounds)
        counted = self.link.rows("counting the rows of units", statement, [self._id_array(bounds)])
        return [(names[unit], rows, there, empty) for unit, rows, there, empty in counted]

    def _id_array(self, bounds: Sequence[str]) -> list[Any]:
        whole = pa.types.is_integer(self.table.field(self.table.id_column).arrow)
        return [int(bound) for bound in bounds] if whole else list(bounds)

    def _range(self, unit: Unit, name: str = "") -> tuple[Composed | None, list[str]]:
        """The condition that a row belongs to a unit, and its values."""
        low, high = json.loads(unit.key)
        id_type, column = self.table.id_type(), compose("t.{id}" if name else "{id}", id=self.table.id_column)
        conditions = [
            compose("{id} {sign} %s::{type}", id=column, sign=verbatim(sign), type=id_type)
            for sign, bound in ((">=", low), ("<", high))
            if bound is not None
        ]
        values = [bound for bound in (low, high) if bound is not None]
        return (joined(" AND ", conditions) if conditions else None), values

    def read_unit(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of one unit; what is needed to recognise them again is remembered for `stage_unit`."""
        fields = self.table.fields()
        vectors = tuple(name for name in columns if name in fields and fields[name].kind == "vector")
        seen = self._seen = Seen(unit.key, vectors)
        where, values = self._range(unit)
        for page in self.table.pages(columns, where=where, values=values):
            seen.add(page, fields[self.table.id_column])
            yield pa.record_batch(page.columns, names=list(columns))
        seen.whole = True

    def stage_unit(self, unit: Unit, column: str, vectors: Iterable[pa.FixedSizeListArray]) -> str:
        """Set the vectors of one unit, in one transaction.

        Raises:
            GalleryError: there are fewer or more vectors than rows.
        """
        target, done = self.table.field(column), 0
        for block in vectors:  # may read the unit meanwhile, over the same connection
            seen = self._seen_of(unit)
            if done + len(block) > seen.rows:
                raise _unequal(done + len(block), seen.rows)
            if not len(block):
                continue
            if not done:
                self._make_room(target)
            self._copy(joined_rows([*seen.take(done, len(block)), encode(block, target)], len(block)))
            done += len(block)
        seen = self._seen_of(unit)
        if done != seen.rows or not seen.whole:
            raise _unequal(done, max(seen.rows, unit.rows))
        return f"{self._update(unit, target, seen.columns) if done else 0} rows changed"

    def _seen_of(self, unit: Unit) -> Seen:
        if self._seen.key != unit.key:
            for _ in self.read_unit(unit, []):
                pass
        return self._seen

    def _make_room(self, target: Field) -> None:
        with self.link.doing(f"staging {target.name!r}") as connection:
            run(connection, compose("DROP TABLE IF EXISTS {staged}", staged=STAGED))
            run(
                connection,
                compose(
                    "CREATE TEMP TABLE bict_staged (id {type}, written xid, seen bytea, vector vector({dim}))",
                    type=verbatim(KINDS[self.table.field(self.table.id_column).kind].sql),
                    dim=target.dim,
                ),
            )

    def _copy(self, rows: bytes) -> None:
        statement = compose("COPY {staged} FROM STDIN (FORMAT binary)", staged=STAGED)
        with self.link.doing("copying staged vectors") as connection, copying(connection, statement) as copy:
            for part in (COPY_BEGIN, rows, COPY_END):
                copy.write(part)

    def _update(self, unit: Unit, target: Field, columns: Sequence[str]) -> int:
        """One UPDATE of the rows that hold what was read, tried again where other sessions were in the way."""
        where, values = self._range(unit, "t")
        same = [compose("coalesce(vector_send(t.{c}), '\\x00'::bytea)", c=name) for name in columns]
        hashed = compose("OR sha256({same}) = s.seen", same=joined(" || ", same)) if same else compose("")
        statement = compose(
            "UPDATE {t} AS t SET {c} = s.vector FROM {staged} AS s WHERE t.{id} = s.id::{type} {inside} "
            "AND t.{c} IS DISTINCT FROM s.vector AND (t.xmin = s.written {hashed})",
            t=self.link.relation,
            c=target.name,
            staged=STAGED,
            id=self.table.id_column,
            type=self.table.id_type(),
            inside=compose("AND {where}", where=where) if where is not None else compose(""),
            hashed=hashed,
        )
        for attempt in range(1, TRIES + 1):
            try:
                with self.link.transaction(f"staging {target.name!r}", lock_wait=False) as connection:
                    connection.execute("SELECT set_config(%s, 'on', true)", [STAGING])
                    changed = run(connection, statement, values).rowcount
                    run(connection, compose("DROP TABLE {staged}", staged=STAGED))
            except GalleryError as error:
                if attempt == TRIES or not isinstance(error.__cause__, _busy()):
                    raise
            else:
                return changed
        return 0


def _unequal(vectors: int, rows: int) -> GalleryError:
    return GalleryError(f"{vectors} vectors were staged for {rows} rows: one vector per row is needed")


def _busy() -> tuple[type[Exception], ...]:
    errors = driver().errors
    return errors.DeadlockDetected, errors.SerializationFailure
