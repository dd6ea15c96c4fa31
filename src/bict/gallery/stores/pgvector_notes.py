"""What bict notes in tables of its own beside a gallery's table: the document, units, the ledger, and the trigger."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from bict.errors import GalleryError
from bict.gallery.ledger import Entry
from bict.gallery.stores.pgvector_link import Link, compose, joined, run
from bict.gallery.stores.pgvector_types import Field

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

GALLERIES, UNITS, LEDGER = "bict_galleries", "bict_units", "bict_ledger"
TRIGGER = "bict_stale"
STAGING = "bict.staging"
MAKE = [
    "CREATE TABLE IF NOT EXISTS {galleries} (gallery text PRIMARY KEY, document text, "
    "version bigint NOT NULL DEFAULT 0, owner text, unit_rows bigint, arrow text)",
    "CREATE TABLE IF NOT EXISTS {units} (gallery text, column_name text, unit bigint, low text, high text, "
    "PRIMARY KEY (gallery, column_name, unit))",
    "CREATE TABLE IF NOT EXISTS {ledger} (gallery text, column_name text, unit text, entry text NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS bict_ledger_unit ON {ledger} (gallery, column_name, md5(unit))",
]


@dataclass(frozen=True)
class Document:
    """What a metadata document says that the trigger needs: the live column, and the columns that hold vectors."""

    live: str | None
    columns: tuple[str, ...]

    @classmethod
    def read(cls, text: str | None) -> Document:
        """From the text; nothing where it is no gallery's."""
        try:
            found = json.loads(text or "{}")
            stored = [name for name, column in found["columns"].items() if column["state"] != "dropped"]
            return cls(str(found["active"]), tuple(stored))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(None, ())


class Notes:
    """The rows about one gallery in bict's tables, which lie in the gallery's schema."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.version = 0
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
        return self.link.rows(what, compose(statement, t=self._at(table)), values) if self._made() else []

    def document(self) -> str | None:
        """The newest document, which the next `write` builds upon."""
        text, self.version = self._newest()
        return text

    def look(self) -> Document:
        """What the newest document says to the trigger."""
        return Document.read(self._newest()[0])

    def _newest(self) -> tuple[str | None, int]:
        query = "SELECT document, version FROM {t} WHERE gallery = %s"
        found = self._rows("reading the gallery's metadata", query, GALLERIES, [self.gallery])
        return (found[0][0], found[0][1]) if found else (None, 0)

    def note_new(self, connection: Connection[Any], text: str, unit_rows: int, schema: pa.Schema) -> None:
        """The first notes about a table that was just made, in the place of any about an earlier one."""
        for table in (UNITS, LEDGER, GALLERIES):
            run(connection, compose("DELETE FROM {t} WHERE gallery = %s", t=self._at(table)), [self.gallery])
        arrow = base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()
        run(
            connection,
            compose(
                "INSERT INTO {t} (gallery, document, version, unit_rows, arrow) VALUES (%s, %s, 1, %s, %s)",
                t=self._at(GALLERIES),
            ),
            [self.gallery, text, unit_rows, arrow],
        )

    def remembered(self) -> dict[str, pa.DataType]:
        """The Arrow types of the columns the gallery was made with."""
        found = self._rows("reading types", "SELECT arrow FROM {t} WHERE gallery = %s", GALLERIES, [self.gallery])
        if not found or found[0][0] is None:
            return {}
        schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(found[0][0])))
        return {field.name: field.type for field in schema}

    def unit_rows(self) -> int | None:
        """How many rows a unit may have, where the gallery was made with a limit."""
        query = "SELECT unit_rows FROM {t} WHERE gallery = %s"
        found = self._rows("reading the size of units", query, GALLERIES, [self.gallery])
        return int(found[0][0]) if found and found[0][0] is not None else None

    def write(self, connection: Connection[Any], text: str) -> None:
        """Replace the document that was last read.

        Raises:
            GalleryError: it is another one by now.
        """
        galleries, expected = self._at(GALLERIES), self.version
        run(
            connection,
            compose("INSERT INTO {t} (gallery) VALUES (%s) ON CONFLICT DO NOTHING", t=galleries),
            [self.gallery],
        )
        change = "UPDATE {t} SET document = %s, version = version + 1 WHERE gallery = %s AND version = %s"
        done = run(connection, compose(change, t=galleries), [text, self.gallery, expected])
        if done.rowcount != 1:
            raise GalleryError(f"the metadata of {self.link.place.shown} was changed by another process: run again")

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

    def forget_ids(self, connection: Connection[Any], ids: Sequence[object]) -> None:
        """Join the units that begin with one of these ids to the units before them; both will be staged again."""
        if not self._made():
            return
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
        """Add to the ledger of a column, or replace what it says of the unit."""
        statement = (
            "INSERT INTO {t} (gallery, column_name, unit, entry) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (gallery, column_name, md5(unit)) DO UPDATE SET entry = EXCLUDED.entry"
        )
        self.make()
        with self.link.doing("writing the ledger") as connection:
            values = [self.gallery, column, entry.unit, entry.model_dump_json()]
            run(connection, compose(statement, t=self._at(LEDGER)), values)

    def guard(self, connection: Connection[Any], document: Document, fields: Mapping[str, Field]) -> None:
        """Have the table's trigger follow the document: a changed live vector empties vectors that were made from it.

        Columns that are not live take nulls from now on. Nothing is altered that is as it must be.
        """
        columns = [name for name in document.columns if name in fields and fields[name].kind == "vector"]
        others = [name for name in columns if name != document.live]
        for name in others:
            if fields[name].required:
                statement = "ALTER TABLE {t} ALTER COLUMN {c} DROP NOT NULL"
                run(connection, compose(statement, t=self.link.relation, c=name))
        wanted = _body(document.live, others) if document.live in columns and others else None
        text = wanted.as_string(connection).replace("%%", "%") if wanted else None
        found = connection.execute(
            "SELECT p.prosrc FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid "
            "WHERE g.tgrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND g.tgname = %s",
            [*self.link.relation, TRIGGER],
        ).fetchall()
        if (found[0][0] if found else None) == text:
            return
        if text is None:
            self.unguard(connection)
        else:
            self._set_trigger(connection, str(document.live), text)

    def _set_trigger(self, connection: Connection[Any], live: str, body: str) -> None:
        from psycopg import sql  # noqa: PLC0415

        run(
            connection,
            compose(
                "CREATE OR REPLACE FUNCTION {f}() RETURNS trigger LANGUAGE plpgsql "
                "SET search_path FROM CURRENT AS {body}",
                f=self._function(),
                body=sql.Literal(body.replace("%", "%%")),
            ),
        )
        run(
            connection,
            compose(
                "CREATE OR REPLACE TRIGGER {g} BEFORE UPDATE ON {t} FOR EACH ROW "
                "WHEN (current_setting({staging}, true) IS DISTINCT FROM 'on' AND OLD.{c} IS DISTINCT FROM NEW.{c}) "
                "EXECUTE FUNCTION {f}()",
                g=TRIGGER,
                t=self.link.relation,
                staging=sql.Literal(STAGING),
                c=live,
                f=self._function(),
            ),
        )

    def unguard(self, connection: Connection[Any]) -> None:
        """Remove the trigger and its function."""
        run(connection, compose("DROP TRIGGER IF EXISTS {g} ON {t}", g=TRIGGER, t=self.link.relation))
        run(connection, compose("DROP FUNCTION IF EXISTS {f}()", f=self._function()))

    def _function(self) -> tuple[str, str]:
        return self._at(f"{TRIGGER}_{hashlib.sha256(self.gallery.encode()).hexdigest()[:16]}")


def keys(bounds: Sequence[str]) -> list[str]:
    """The key of each unit: the id range it covers."""
    ends = [None, *bounds, None]
    return [json.dumps(ends[number : number + 2]) for number in range(len(bounds) + 1)]


def _body(live: str | None, others: Sequence[str]) -> Composed:
    """A changed live vector empties the other columns, but those that changed in the same statement."""
    empty = [
        compose("IF NEW.{c} IS NOT DISTINCT FROM OLD.{c} THEN NEW.{c} := NULL; END IF;", c=name) for name in others
    ]
    return compose(
        "BEGIN IF NEW.{live} IS DISTINCT FROM OLD.{live} THEN {empty} END IF; RETURN NEW; END",
        live=live or "",
        empty=joined(" ", empty),
    )
