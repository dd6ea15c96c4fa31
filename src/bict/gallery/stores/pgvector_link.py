"""Where a PostgreSQL table lives, and statements to it whose failures are one line without a password."""

from __future__ import annotations

import re
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Union
from urllib.parse import quote, unquote

from bict.errors import GalleryError, MissingExtra
from bict.gallery.stores.base import Reach, first_line

if TYPE_CHECKING:
    from psycopg import Connection, Copy, Cursor
    from psycopg.sql import Composable, Composed

DEFAULT_TABLE = "vectors"
EXPECTED = "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE?table=NAME with special characters percent-encoded"
ADDRESS = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/?#]*)(?P<password>:[^@/]*)?@)?(?P<place>[^@?#]*)(?:\?(?P<query>[^@#]*))?"
)
PUBLIC = {
    *("host", "hostaddr", "port", "dbname", "user", "table", "service", "sslmode", "sslrootcert", "sslsni"),
    *("application_name", "channel_binding", "client_encoding", "connect_timeout", "gssencmode", "load_balance_hosts"),
    *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "target_session_attrs"),
}
LOCK_WAIT = "5s"  # as long as others may have to queue behind a lock that is waited for
OLDEST_SERVER = 140000
NAME_BYTES = 63
SETTINGS = """
SELECT set_config('statement_timeout', '0', false),
    set_config('enable_sort', 'off', false), set_config('enable_bitmapscan', 'off', false),
    set_config('temp_buffers', '64MB', false), set_config('work_mem', '64MB', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('search_path',
        concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(n.nspname)), false),
    e.extversion
FROM (SELECT 1) AS one
LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'vector'
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
"""
RESOLVE = """
SELECT coalesce((
    SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass(quote_ident(%s))
), current_schema())
"""

Relation = tuple[str, str]
Part = Union[str, int, tuple[str, ...], "Composable", Sequence[Union[str, "Composable"]]]
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """A table of a database; `shown` has the options of the address that are known to hold no password."""

    shown: str
    table: str
    schema: str | None = None
    conninfo: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def parse(address: str) -> Place:
    """The place an address names.

    Raises:
        GalleryError: it names none; what is wrong is not repeated, as it may be the password.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise GalleryError(f"a postgresql:// address cannot be read: {EXPECTED}")
    user, password, query = found["user"] or "", found["password"] or "", found["query"] or ""
    options = [(key, value) for key, _, value in (part.partition("=") for part in query.split("&") if part)]
    name = next((unquote(value) for key, value in reversed(options) if unquote(key) == "table"), DEFAULT_TABLE)
    schema, dot, table = name.rpartition(".")
    if not table or "\0" in name or (dot and not schema) or max(len(schema.encode()), len(table.encode())) > NAME_BYTES:
        raise GalleryError(
            f"a postgresql:// address names no table, or one of more than {NAME_BYTES} bytes: {EXPECTED}"
        )
    public = [(key, value) for key, value in options if unquote(key).lower() in PUBLIC]
    secrets = [password[1:], *(value for key, value in options if unquote(key).lower() not in PUBLIC)]
    return Place(
        _address(user, found["place"], public),
        table,
        schema or None,
        _address(user + password, found["place"], [(key, value) for key, value in options if unquote(key) != "table"]),
        tuple(unquote(secret) for secret in secrets if secret),
    )


def beside(address: str, schema: str) -> str:
    """The address of a table of the same database that nobody has."""
    base, _, options = address.partition("?")
    kept = [option for option in options.split("&") if option and unquote(option.partition("=")[0]) != "table"]
    return f"{base}?{'&'.join([*kept, f'table={quote(schema)}.bict_trial_{uuid.uuid4().hex}'])}"


def _address(user: str, place: str, options: Sequence[tuple[str, str]]) -> str:
    query = "&".join(f"{key}={value}" for key, value in options)
    return f"postgresql://{user}{'@' if user else ''}{place}{'?' if query else ''}{query}"


def driver() -> ModuleType:
    """The module psycopg.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import psycopg  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres") from error
    return psycopg


def compose(template: str, **parts: Part) -> Composed:
    """A statement whose `{parts}` are names (to be quoted), schema and name, numbers, statements, or lists of them."""
    from psycopg import sql  # noqa: PLC0415

    def put(part: Part) -> Composable:
        if isinstance(part, sql.Composable):
            return part
        if isinstance(part, str):
            return sql.Identifier(_escaped(part))
        if isinstance(part, int):
            return sql.Literal(part)
        if isinstance(part, tuple):
            return sql.Identifier(*map(_escaped, part))
        return sql.SQL(", ").join(map(put, part))

    return sql.SQL(template).format(**{name: put(part) for name, part in parts.items()})


def verbatim(text: str) -> Composable:
    """SQL that the server's own catalogue wrote, such as the quoted name of a type."""
    from psycopg import sql  # noqa: PLC0415

    return sql.SQL(_escaped(text))


def run(
    connection: Connection[Row], statement: Composed, values: Sequence[object] = (), *, binary: bool = False
) -> Cursor[Row]:
    """Execute what `compose` made; it needs parameters, if only none, since a name may hold a percent sign."""
    return connection.execute(statement, list(values), binary=binary)


@contextmanager
def copying(connection: Connection[Row], statement: Composed) -> Iterator[Copy]:
    """Run a COPY that `compose` made; without parameters, a percent sign stands for itself there."""
    text = statement.as_string(connection).replace("%%", "%").encode()
    with connection.cursor() as cursor, cursor.copy(text) as copy:
        yield copy


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def joined(separator: str, parts: Sequence[Composable]) -> Composed:
    """Statements with something between them."""
    from psycopg import sql  # noqa: PLC0415

    return sql.SQL(separator).join(parts)


class Link:
    """One connection to a table's database, made when it is first needed and again after it broke."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.vector_version: tuple[int, ...] = (0,)
        self._relation: Relation | None = None
        self._connection: Connection[Row] | None = None
        self._close: Callable[[], object] = bool

    @contextmanager
    def doing(self, what: str) -> Iterator[Connection[Row]]:
        """The connection, in autocommit mode; whatever fails meanwhile is a refusal that names what was done.

        Raises:
            GalleryError: a statement failed, or the server is gone.
        """
        psycopg = driver()
        connection = self._connected()
        try:
            yield connection
        except psycopg.Error as error:
            if connection.closed:
                self.close()
            raise self._refusal(what, error) from error

    @contextmanager
    def transaction(self, what: str, *, lock_wait: bool = True) -> Iterator[Connection[Row]]:
        """`doing` within one transaction, which waits `LOCK_WAIT` for each lock."""
        with self.doing(what) as connection, connection.transaction():
            if lock_wait:
                connection.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_WAIT])
            yield connection

    def rows(self, what: str, statement: Composed | str, parameters: Sequence[object] = ()) -> list[Row]:
        """What one statement finds."""
        with self.doing(what) as connection:
            text = statement.encode() if isinstance(statement, str) else statement
            return connection.execute(text, list(parameters), binary=True).fetchall()

    def one(self, what: str, statement: Composed | str, parameters: Sequence[object] = ()) -> Any:  # noqa: ANN401
        """The only value that one statement finds."""
        return self.rows(what, statement, parameters)[0][0]

    @property
    def relation(self) -> Relation:
        """Schema and name of the table; where it is not there yet, the schema it would be made in."""
        if self._relation is None:
            schema = self.place.schema or self.one("finding the table", RESOLVE, [self.place.table])
            if schema is None:
                raise GalleryError(
                    f"{self.place.shown} names no schema and the search path has none: table=SCHEMA.NAME"
                )
            self._relation = (schema, self.place.table)
        return self._relation

    def reach(self) -> Reach:
        """The server's host and port, or the folder of its socket."""
        with self.doing("connecting") as connection:
            info = connection.info
            parameters = info.get_parameters()
            hosts = (parameters.get("host") or info.host).split(",")
            ports = (parameters.get("port") or str(info.port)).split(",")
        pairs = list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False))
        paths = tuple(Path(host) for host, _ in pairs if host.startswith("/"))
        return Reach(paths, tuple((host, int(port)) for host, port in pairs if not host.startswith("/")))

    def close(self) -> None:
        """Close the connection; the next statement makes another one."""
        self._connection = None
        self._close()

    def _connected(self) -> Connection[Row]:
        if self._connection is None or self._connection.closed:
            self.close()
            self._connection = self._connect()
            self._close = weakref.finalize(self, self._connection.close)
        return self._connection

    def _connect(self) -> Connection[Row]:
        psycopg = driver()
        settings = {"application_name": "bict", "client_encoding": "UTF8", "keepalives_idle": "60"}
        try:
            given = psycopg.conninfo.conninfo_to_dict(self.place.conninfo)
        except psycopg.Error:
            raise GalleryError(f"the address {self.place.shown} cannot be read: {EXPECTED}") from None
        connection: Connection[Row] | None = None
        try:
            connection = psycopg.connect(**{**settings, **given}, autocommit=True, prepare_threshold=None)
            *_, version = connection.execute(SETTINGS).fetchall()[0]
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            raise GalleryError(
                f"{self.place.shown} cannot be reached ({self._line(error)}): check server, database, user and "
                "password, then run the same command again"
            ) from None
        if connection.info.server_version < OLDEST_SERVER:
            connection.close()
            raise GalleryError(
                f"{self.place.shown} is older than PostgreSQL {OLDEST_SERVER // 10000}: upgrade the server"
            )
        self.vector_version = _version(version)
        return connection

    def _refusal(self, what: str, error: BaseException) -> GalleryError:
        psycopg = driver()
        shown, line = self.place.shown, self._line(error)
        if isinstance(error, psycopg.errors.LockNotAvailable):
            return GalleryError(
                f"{what}: {shown} is being changed by another session ({line}): run the same command again after it"
            )
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return GalleryError(f"{what}: {shown} failed ({line}): run the same command again")
        return GalleryError(f"{what}: {shown} refused ({line}): correct this, then run the same command again")

    def _line(self, error: BaseException) -> str:
        line = first_line(error)
        for secret in self.place.secrets:
            line = line.replace(secret, "***") if len(secret) > 3 else line  # the server repeats none; to be sure
        return line


def _version(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text or "0"))
