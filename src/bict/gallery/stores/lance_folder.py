"""Where a Lance table lies, with what is noted beside it: a folder on disk, or a part of an object storage."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from bict.gallery.ledger import FILE as LEDGER
from bict.gallery.ledger import FileLedger, Ledger
from bict.gallery.lock import locked_file, waiting_for
from bict.gallery.stores.base import Reach


class Folder(Protocol):
    """Files and folders below one place; names are relative, and what is not there is empty."""

    def __truediv__(self, name: str) -> Self:
        """A folder below."""
        ...

    @property
    def uri(self) -> str:
        """As Lance takes it."""
        ...

    @property
    def reach(self) -> Reach:
        """What Python itself opens when it is used."""
        ...

    def folders(self) -> set[str]:
        """Names of the folders in it."""
        ...

    def files(self, prefix: str = "") -> set[str]:
        """Names of the files in it that begin so."""
        ...

    def untouched(self, prefix: str, seconds: float) -> set[str]:
        """Names of the files in it that begin so, are not complete, and were not written to for so many seconds."""
        ...

    def read(self, name: str) -> bytes | None:
        """What a file holds, None where there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file in the place of the one there, in one step."""
        ...

    def sync(self, name: str) -> None:
        """Wait until what somebody else wrote to a file is durable."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, where they are there."""
        ...

    def remove_all(self) -> None:
        """Delete everything below."""
        ...

    def ledger(self) -> Ledger:
        """The ledger that it holds."""
        ...

    def free_bytes(self) -> int | None:
        """Room left, None where that is not known."""
        ...

    def locked(self, doing: str, address: str) -> AbstractContextManager[None]:
        """Hold it for one upgrade at a time."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Wait until no other process of bict adds rows."""
        ...


@dataclass(frozen=True)
class LocalFolder:
    """A folder on a disk."""

    path: Path

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / name)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def uri(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def reach(self) -> Reach:
        """Itself."""
        return Reach(paths=(self.path,))

    def folders(self) -> set[str]:
        """Names of the folders in it."""
        return {path.name for path in self._entries() if path.is_dir()}

    def files(self, prefix: str = "") -> set[str]:
        """Names of the files in it that begin so."""
        return {path.name for path in self._entries() if path.name.startswith(prefix) and not path.is_dir()}

    def untouched(self, prefix: str, seconds: float) -> set[str]:
        """Names of the files in it that begin so and were not written to for so many seconds."""
        found = set()
        with suppress(OSError):  # the folder went meanwhile
            for path in self._entries():
                with suppress(OSError):  # it is complete by now, under another name
                    if path.name.startswith(prefix) and time.time() - path.stat().st_mtime >= seconds:
                        found.add(path.name)
        return found

    def _entries(self) -> Iterator[Path]:
        return self.path.iterdir() if self.path.is_dir() else iter(())

    def read(self, name: str) -> bytes | None:
        """What a file holds."""
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Rename a finished file, so that a kill leaves the old one or the new one."""
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f"{os.getpid()}-{name}.part"  # two processes may write at once
        temporary.write_bytes(content)
        temporary.replace(self.path / name)

    def sync(self, name: str) -> None:
        """Wait until a file is on disk."""
        descriptor = os.open(self.path / name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, where they are there."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Delete everything below, as far as the system lets."""
        shutil.rmtree(self.path, ignore_errors=True)

    def ledger(self) -> FileLedger:
        """One file that only grows."""
        return FileLedger(self.path / LEDGER)

    def free_bytes(self) -> int:
        """What the disk has free."""
        return shutil.disk_usage(self.path).free

    def locked(self, doing: str, address: str) -> AbstractContextManager[None]:
        """A lock on a file, which the system lets go with the process."""
        return locked_file(self.path / "lock", doing, address)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A lock on another file."""
        with waiting_for(self.path / "writing"):
            yield
