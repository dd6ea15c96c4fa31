"""The trigger of a gallery's table in PostgreSQL, which empties vectors of a row that gets another picture's vector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bict.gallery.stores.pgvector_link import Link, compose, joined, run

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

    from bict.gallery.stores.pgvector_types import Field

TRIGGER = "bict_stale"
STAGING = "bict.staging"
FOUND = """
SELECT p.prosrc, n.nspname, p.proname FROM pg_catalog.pg_trigger g
JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE g.tgrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND g.tgname = %s
"""
OID = "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text))::oid::text"


@dataclass(frozen=True)
class Document:
    """What a metadata document says that this store needs.

    Attributes:
        live: the column that is searched.
        columns: those that hold vectors, oldest first.
        states: of every column, also of dropped ones.
        widths: the same.
        sources: for each column the columns it was made from, directly or through others.
        id_column: the gallery's ids.
    """

    live: str | None = None
    columns: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, frozenset[str]] = field(default_factory=dict)
    id_column: str = "id"

    @classmethod
    def read(cls, text: str | None) -> Document:
        """From the text; nothing where it is no gallery's."""
        try:
            found = json.loads(text or "{}")
            columns = found["columns"]
            states = {name: str(column["state"]) for name, column in columns.items()}
            widths = {name: int(column["space"]["dim"]) for name, column in columns.items()}
            origins = {name: {origin["column"] for origin in column["origins"]} for name, column in columns.items()}
            live, id_column = str(found["active"]), str(found["id_column"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()
        stored = tuple(name for name, state in states.items() if state != "dropped")
        sources = {name: _ancestors(name, origins) for name in columns}
        return cls(live, stored, states, widths, sources, id_column)

    @property
    def served(self) -> dict[str, int]:
        """The columns that are searched or were, which are there at any time, and their widths."""
        return {name: self.widths[name] for name, state in self.states.items() if state in ("live", "kept")}

    def causes(self, column: str, present: Sequence[str]) -> list[str]:
        """The columns whose change makes a vector stale: the live one, and what that and this one were made from."""
        made_from = self.sources.get(column, frozenset()) | self.sources.get(self.live or "", frozenset())
        return [name for name in present if name != column and (name == self.live or name in made_from)]


def _ancestors(name: str, origins: Mapping[str, set[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(origins[name])
    while waiting:
        column = waiting.pop()
        if column not in found:
            found.add(column)
            waiting += origins.get(column, ())
    return frozenset(found)


def guard(link: Link, connection: Connection[Any], document: Document, fields: Mapping[str, Field]) -> None:
    """Have the table's trigger follow the document, so that no vector stays that was made from another picture.

    Columns that it may empty take nulls from now on. Nothing is altered that is as it must be.
    """
    columns = [name for name in document.columns if name in fields and fields[name].dim == document.widths[name]]
    emptied = {name: causes for name in columns if (causes := document.causes(name, columns))}
    for name in columns:
        if fields[name].required and (name != document.live or name in emptied):
            run(connection, compose("ALTER TABLE {t} ALTER COLUMN {c} DROP NOT NULL", t=link.relation, c=name))
    wanted = _body(document.live, columns, emptied) if document.live in columns and emptied else None
    text = wanted.as_string(connection).replace("%%", "%") if wanted else None
    found = connection.execute(FOUND.encode(), [*link.relation, TRIGGER]).fetchall()
    if (found[0][0] if found else None) == text:
        return
    function = (found[0][1], found[0][2]) if found else _function(link, connection)
    if text is None:
        run(connection, compose("DROP TRIGGER IF EXISTS {g} ON {t}", g=TRIGGER, t=link.relation))
        run(connection, compose("DROP FUNCTION IF EXISTS {f}()", f=function))
    else:
        _set(link, connection, function, columns, text)


def _function(link: Link, connection: Connection[Any]) -> tuple[str, str]:
    """A name that no other table's trigger uses, were it called the same before."""
    ((number,),) = connection.execute(OID.encode(), link.relation).fetchall()
    digest = hashlib.sha256(json.dumps([link.relation[1], number]).encode()).hexdigest()
    return link.relation[0], f"{TRIGGER}_{digest[:16]}"


def _set(link: Link, connection: Connection[Any], function: tuple[str, str], columns: Sequence[str], body: str) -> None:
    from psycopg import sql  # noqa: PLC0415

    run(
        connection,
        compose(
            "CREATE OR REPLACE FUNCTION {f}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS {body}",
            f=function,
            body=sql.Literal(body.replace("%", "%%")),
        ),
    )
    run(
        connection,
        compose(
            "CREATE OR REPLACE TRIGGER {g} BEFORE UPDATE ON {t} FOR EACH ROW "
            "WHEN (current_setting({staging}, true) IS DISTINCT FROM 'on' AND ({changed})) EXECUTE FUNCTION {f}()",
            g=TRIGGER,
            t=link.relation,
            staging=sql.Literal(STAGING),
            changed=joined(" OR ", [compose("OLD.{c} IS DISTINCT FROM NEW.{c}", c=name) for name in columns]),
            f=function,
        ),
    )


def _body(live: str | None, columns: Sequence[str], emptied: Mapping[str, Sequence[str]]) -> Composed:
    """Empty each column that did not change itself while one of its causes did.

    A source that was itself emptied is no cause: the vectors that were made from it are as good as before.
    """
    declared, steps = [], []
    for number, name in enumerate(columns):
        written = "true" if name == live else "NEW.{c} IS NOT NULL"
        declared.append(
            compose(
                f"changed{number} boolean := NEW.{{c}} IS DISTINCT FROM OLD.{{c}}; "
                f"caused{number} boolean := changed{number} AND {written};",
                c=name,
            )
        )
        causes = [f"caused{columns.index(cause)}" for cause in emptied.get(name, ())]
        if causes:
            condition = f"NOT changed{number} AND ({' OR '.join(causes)})"
            steps.append(compose(f"IF {condition} THEN NEW.{{c}} := NULL; END IF;", c=name))
    return compose(
        "DECLARE {declared} BEGIN {steps} RETURN NEW; END", declared=joined(" ", declared), steps=joined(" ", steps)
    )
