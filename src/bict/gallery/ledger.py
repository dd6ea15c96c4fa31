"""What has been staged so far: one entry per finished unit, durable before the next unit begins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bict.errors import GalleryError

FILE = "ledger.jsonl"


class Entry(BaseModel):
    """A finished unit: how many vectors were staged, SHA-256 of them and of the vectors they were made from.

    Attributes:
        unit: the unit's key.
        rows: vectors staged; rows without a source vector do not count.
        sha256: of the staged vectors' bytes, in the unit's order.
        source_sha256: of the source vectors' bytes, in the same order.
        receipt: what the store gave for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    unit: str
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    source_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    receipt: str


class Ledger(Protocol):
    """The finished units of one column."""

    def entries(self) -> dict[str, Entry]:
        """The newest entry of each unit, by key; GalleryError where the ledger is damaged."""
        ...

    def record(self, entry: Entry) -> None:
        """Add a finished unit; when this returns, a kill does not lose it."""
        ...


def parse_entries(text: bytes, where: str) -> dict[str, Entry]:
    """The newest entry of each unit, from whole lines.

    Raises:
        GalleryError: a line is no entry.
    """
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    try:
        parsed = [Entry.model_validate_json(line) for line in lines]
    except (ValidationError, ValueError) as error:
        raise GalleryError(f"{where} is damaged: discard the column and stage it again") from error
    return {entry.unit: entry for entry in parsed}


@dataclass(frozen=True)
class FileLedger:
    """One JSON line per finished unit in a file that only grows, synced to disk."""

    path: Path

    def entries(self) -> dict[str, Entry]:
        """The entries of every whole line; a kill can leave half a line at the end, which does not count."""
        return parse_entries(self.path.read_bytes() if self.path.is_file() else b"", str(self.path))

    def record(self, entry: Entry) -> None:
        """Cut off a half line, then append."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            size = file.tell()
            whole = _whole(self.path, size)
            if whole != size:
                os.truncate(file.fileno(), whole)
            file.write(entry.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _whole(path: Path, size: int) -> int:
    """Bytes up to the last end of a line."""
    with path.open("rb") as file:
        if size == 0 or (file.seek(size - 1) >= 0 and file.read(1) == b"\n"):
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1
