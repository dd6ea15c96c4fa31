"""What bict notes in tables of its own beside a gallery's table: the document, units and the ledger."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from bict.errors import GalleryError
from bict.gallery.ledger import Entry
from bict.gallery.stores.pgvector_link import Link, compose, run
from bict.gallery.stores.pgvector_trigger import Document

if TYPE_CHECKING:
    from psycopg import Connection

GALLERIES, UNITS, LEDGER = "bict_galleries", "bict_units", "bict_ledger"
MAKE = [
    "CREATE TABLE IF NOT EXISTS {galleries} (gallery text PRIMARY KEY, document text, "
    "version bigint NOT NULL DEFAULT 0, owner text, unit_rows bigint, arrow text, relation oid)",
    "CREATE TABLE IF NOT EXISTS {units} (gallery text, column_name text, unit bigint, low text, high text, "
    "PRIMARY KEY (gallery, column_name, unit))",
    "CREATE TABLE IF NOT EXISTS {ledger} (gallery text, column_name text, unit text, entry text NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS bict_ledger_unit ON {ledger} (gallery, column_name, md5(unit))",
]
OID = "to_regclass(format('%%I.%%I', %s::text, %s::text))::oid"
WIDTHS = """
SELECT a.attname, CASE WHEN t.typname = 'vector' THEN a.atttypmod ELSE 0 END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND a.attnum > 0 AND NOT a.attisdropped
"""


class Notes:
    """The rows about one gallery in bict's tables, which lie in the gallery's schema.

    `foreign` says whether the notes that were read last are about an earlier table of the same name.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.version = 0
        self.foreign = False
        self._there = False

    @property
    def gallery(self) -> str:
        """How the gallery is called in the notes."""
        return self.link.relation[1]

    def _at(self, name: str) -> tuple[str, str]:
        return self.link.relation[0], name

    def _made(self) -> bool:
        if not self._there:
            query = "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL"
            self._there = bool(self.link.one("looking for notes", query, self._at(LEDGER)))
        return self._there

    def make(self) -> None:
        """Make bict's tables where they are missing, in a transaction of its own."""
        if self._made():
            return
        tables = {"galleries": self._at(GALLERIES), "units": self._at(UNITS), "ledger": self._at(LEDGER)}
        with self.link.transaction("making bict's own tables") as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('bict'))")
            for statement in MAKE:
                run(connection, compose(statement, **tables))

    def _rows(self, what: str, statement: str, table: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if not self._made():
            return []
        return self.link.rows(what, compose(statement, t=self._at(table), oid=compose(OID)), values)

    def document(self) -> str | None:
        """The newest document, which the next `write` builds upon; None where it is about another table."""
        text, self.version = self._newest()
        return text

    def look(self) -> Document:
        """What the newest document says to the trigger."""
        return Document.read(self._newest()[0])

    def _newest(self) -> tuple[str | None, int]:
        query = "SELECT document, version, relation IS NOT DISTINCT FROM {oid} FROM {t} WHERE gallery = %s"
        values = [*self.link.relation, self.gallery]
        found = self._rows("reading the gallery's metadata", query, GALLERIES, values)
        text, version, same = found[0] if found else (None, 0, True)
        self.foreign = not same and not self._fits(Document.read(text))
        return (None if self.foreign else text), version

    def _fits(self, document: Document) -> bool:
        """Whether the table has the columns that a document speaks of, as a restored one has; or there is none."""
        found: dict[str, int] = dict(self.link.rows("reading the columns", WIDTHS, self.link.relation))
        served = document.served
        return not found or (
            all(found.get(name, 0) in (-1, width) for name, width in served.items())
            and (not served or document.id_column in found)
        )

    def note_new(self, connection: Connection[Any], text: str, unit_rows: int, schema: pa.Schema) -> None:
        """The first notes about a table that was just made, in the place of any about an earlier one."""
        self.forget(connection)
        arrow = base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()
        run(
            connection,
            compose(
                "INSERT INTO {t} (gallery, document, version, unit_rows, arrow, relation) "
                "VALUES (%s, %s, 1, %s, %s, {oid})",
                t=self._at(GALLERIES),
                oid=compose(OID),
            ),
            [self.gallery, text, unit_rows, arrow, *self.link.relation],
        )

    def forget(self, connection: Connection[Any]) -> None:
        """Remove everything that is noted about this gallery."""
        self._forget(connection, UNITS, LEDGER, GALLERIES)

    def _forget(self, connection: Connection[Any], *tables: str) -> None:
        for table in tables:
            run(connection, compose("DELETE FROM {t} WHERE gallery = %s", t=self._at(table)), [self.gallery])

    def remembered(self) -> dict[str, pa.DataType]:
        """The Arrow types of the columns the gallery was made with."""
        found = self._rows("reading types", "SELECT arrow FROM {t} WHERE gallery = %s", GALLERIES, [self.gallery])
        if not found or found[0][0] is None or self.foreign:
            return {}
        schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(found[0][0])))
        return {field.name: field.type for field in schema}

    def unit_rows(self) -> int | None:
        """How many rows a unit may have, where the gallery was made with a limit."""
        query = "SELECT unit_rows FROM {t} WHERE gallery = %s"
        found = self._rows("reading the size of units", query, GALLERIES, [self.gallery])
        return int(found[0][0]) if found and found[0][0] is not None else None

    def write(self, connection: Connection[Any], text: str) -> None:
        """Replace the document that was last read, and forget what else is noted about another table.

        Raises:
            GalleryError: it is another one by now.
        """
        galleries, expected = self._at(GALLERIES), self.version
        run(
            connection,
            compose("INSERT INTO {t} (gallery) VALUES (%s) ON CONFLICT DO NOTHING", t=galleries),
            [self.gallery],
        )
        change = compose(
            "UPDATE {t} SET document = %s, version = version + 1, relation = {oid} {anew} "
            "WHERE gallery = %s AND version = %s",
            t=galleries,
            oid=compose(OID),
            anew=compose(", unit_rows = NULL, arrow = NULL" if self.foreign else ""),
        )
        if run(connection, change, [text, *self.link.relation, self.gallery, expected]).rowcount != 1:
            raise GalleryError(f"the metadata of {self.link.place.shown} was changed by another process: run again")
        if self.foreign:
            self._forget(connection, UNITS, LEDGER)

    def wrote(self) -> None:
        """What `write` wrote is committed."""
        self.version, self.foreign = self.version + 1, False

    def owner(self) -> str:
        """Who says to hold the gallery's lock."""
        found = self._rows("reading the owner", "SELECT owner FROM {t} WHERE gallery = %s", GALLERIES, [self.gallery])
        return (found[0][0] or "") if found else ""

    def set_owner(self, text: str | None) -> None:
        """Say who holds the gallery's lock."""
        if self._made():
            statement = compose("UPDATE {t} SET owner = %s WHERE gallery = %s", t=self._at(GALLERIES))
            with self.link.doing("noting the owner") as connection:
                run(connection, statement, [text, self.gallery])

    def bounds(self, column: str) -> list[str]:
        """The least id of every unit but the first, in order."""
        query = "SELECT low FROM {t} WHERE gallery = %s AND column_name = %s AND low IS NOT NULL ORDER BY unit"
        return [low for (low,) in self._rows("reading units", query, UNITS, [self.gallery, column])]

    def has_units(self, column: str) -> bool:
        """Whether staging of a column began, and the column was not dropped since."""
        query = "SELECT 1 FROM {t} WHERE gallery = %s AND column_name = %s LIMIT 1"
        return bool(self._rows("reading units", query, UNITS, [self.gallery, column]))

    def set_bounds(self, connection: Connection[Any], column: str, bounds: Sequence[str]) -> None:
        """Record the units of a column: id ranges of which the first is open below and the last above."""
        run(
            connection,
            compose("DELETE FROM {t} WHERE gallery = %s AND column_name = %s", t=self._at(UNITS)),
            [self.gallery, column],
        )
        run(
            connection,
            compose(
                "INSERT INTO {t} SELECT %s, %s, * FROM unnest(%s::bigint[], %s::text[], %s::text[])", t=self._at(UNITS)
            ),
            [self.gallery, column, list(range(len(bounds) + 1)), [None, *bounds], [*bounds, None]],
        )

    def hold(self, connection: Connection[Any]) -> None:
        """Keep others from changing units and ledger until the transaction ends; they lock the table before this."""
        lock = "SELECT pg_advisory_xact_lock(hashtext('bict'), hashtext(%s))"
        connection.execute(lock, [json.dumps(self.link.relation)])

    def forget_ids(self, connection: Connection[Any], ids: Sequence[object]) -> None:
        """Join the units that begin with one of these ids to the units before them; both will be staged again."""
        if not self._made():
            return
        self.hold(connection)
        gone = {str(value) for value in ids}
        query = compose("SELECT DISTINCT column_name FROM {t} WHERE gallery = %s AND low = ANY(%s)", t=self._at(UNITS))
        for (column,) in run(connection, query, [self.gallery, sorted(gone)]).fetchall():
            bounds = [bound for bound in self.bounds(column) if bound not in gone]
            self.set_bounds(connection, column, bounds)
            run(
                connection,
                compose(
                    "DELETE FROM {t} WHERE gallery = %s AND column_name = %s AND NOT unit = ANY(%s)", t=self._at(LEDGER)
                ),
                [self.gallery, column, keys(bounds)],
            )

    def forget_column(self, connection: Connection[Any], column: str) -> None:
        """Remove units and ledger of a column."""
        for table in (UNITS, LEDGER) if self._made() else ():
            statement = compose("DELETE FROM {t} WHERE gallery = %s AND column_name = %s", t=self._at(table))
            run(connection, statement, [self.gallery, column])

    def entries(self, column: str) -> dict[str, Entry]:
        """The ledger of a column."""
        query = "SELECT entry FROM {t} WHERE gallery = %s AND column_name = %s"
        found = self._rows("reading the ledger", query, LEDGER, [self.gallery, column])
        try:
            parsed = [Entry.model_validate_json(text) for (text,) in found]
        except ValidationError as error:
            raise GalleryError(
                f"the ledger of {column!r} in {self.link.place.shown} is damaged: discard the column and stage it again"
            ) from error
        return {entry.unit: entry for entry in parsed}

    def record(self, column: str, entry: Entry) -> None:
        """Add to the ledger of a column, or replace what it says of the unit; nothing about a unit that is gone.

        The key of such a unit may hold the id of an erased row.
        """
        statement = (
            "INSERT INTO {t} (gallery, column_name, unit, entry) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (gallery, column_name, md5(unit)) DO UPDATE SET entry = EXCLUDED.entry"
        )
        self.make()
        with self.link.transaction("writing the ledger", lock_wait=False) as connection:
            self.hold(connection)
            if entry.unit in keys(self.bounds(column)):
                values = [self.gallery, column, entry.unit, entry.model_dump_json()]
                run(connection, compose(statement, t=self._at(LEDGER)), values)


def keys(bounds: Sequence[str]) -> list[str]:
    """The key of each unit: the id range it covers."""
    ends = [None, *bounds, None]
    return [json.dumps(ends[number : number + 2]) for number in range(len(bounds) + 1)]
