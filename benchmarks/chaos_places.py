"""Where the galleries of chaos.py lie, and what can be broken there besides the process that upgrades them."""

from __future__ import annotations

import contextlib
import gc
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

ROOM = "64m"


class Place(Protocol):
    """A store of galleries; what a place cannot do is never asked of it.

    Attributes:
        concurrent: other processes can open a gallery while one upgrades it.
        can_fill: its disk can be filled.
        can_kill: it has a server that can be killed.
    """

    concurrent: bool
    can_fill: bool
    can_kill: bool

    def address(self, run: int, *, small: bool = False) -> str: ...
    def fill(self) -> None: ...
    def free(self) -> None: ...
    def kill_server(self) -> None: ...
    def start_server(self) -> None: ...
    def remove(self, address: str) -> None: ...
    def close(self) -> None: ...


class Untroubled:
    """A folder of galleries."""

    concurrent = True
    can_fill = False
    can_kill = False

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bict-chaos-"))

    def address(self, run: int, *, small: bool = False) -> str:
        return str(self.folder / f"gallery-{run}")

    def fill(self) -> None:
        raise NotImplementedError

    free = kill_server = start_server = fill

    def remove(self, address: str) -> None:
        shutil.rmtree(address, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class LancePlace(Untroubled):
    """Galleries in folders; small ones on a tmpfs, where mounting one is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        self.can_fill = self._mount()
        self._unmount()

    def address(self, run: int, *, small: bool = False) -> str:
        if small:
            self._mount()
            return str(self.disk / f"gallery-{run}")
        return super().address(run)

    def fill(self) -> None:
        """Leave 64 kB."""
        free = shutil.disk_usage(self.disk).free
        (self.disk / "ballast").write_bytes(b"\0" * max(0, free - 65_536))

    def free(self) -> None:
        (self.disk / "ballast").unlink(missing_ok=True)

    def remove(self, address: str) -> None:
        super().remove(address)
        if str(self.disk) in address:
            self._unmount()

    def close(self) -> None:
        self._unmount()
        super().close()

    def _mount(self) -> bool:
        words = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(self.disk)]
        try:
            return subprocess.run(words, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def _unmount(self) -> None:
        with contextlib.suppress(OSError):
            subprocess.run(["umount", str(self.disk)], capture_output=True, check=False)


class PostgresPlace(Untroubled):
    """Tables of a PostgreSQL server of its own, as durable as by default."""

    can_kill = True

    def __init__(self) -> None:
        super().__init__()
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from tests.postgres_server import serving  # noqa: PLC0415

        self.serving = serving()
        self.server = self.serving.__enter__()
        with self.server.connect() as connection:
            for setting in ("fsync", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = on")
            connection.execute("SELECT pg_reload_conf()")

    def address(self, run: int, *, small: bool = False) -> str:
        return self.server.address(f"gallery_{run}")

    def kill_server(self) -> None:
        self.server.kill()

    def start_server(self) -> None:
        self.server.start()

    def remove(self, address: str) -> None:
        with self.server.connect() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {address.rpartition('=')[2]}")

    def close(self) -> None:
        self.serving.__exit__(None, None, None)
        super().close()


class QdrantPlace(Untroubled):
    """Collections in folders, which one process at a time can open."""

    concurrent = False

    def address(self, run: int, *, small: bool = False) -> str:
        return f"qdrant://{self.folder}/gallery-{run}?collection=items"

    def remove(self, address: str) -> None:
        gc.collect()  # a client closes with the last gallery that uses it
        super().remove(address.removeprefix("qdrant://").partition("?")[0])


PLACES = {"lance": LancePlace, "postgresql": PostgresPlace, "qdrant": QdrantPlace}
