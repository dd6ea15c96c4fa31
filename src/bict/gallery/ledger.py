"""What has been staged so far: one JSON line per finished unit, synced to disk, readable after any kill."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bict.errors import GalleryError

FILE = "ledger.jsonl"


class Header(BaseModel):
    """First line of a ledger: what is being staged, and by which transform."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    column: str
    source: str
    transform: str


class Entry(BaseModel):
    """A finished unit: its rows, the SHA-256 of its new vectors' bytes, and the store's receipt for them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    unit: str
    rows: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    receipt: str


@dataclass(frozen=True)
class Ledger:
    """Finished units of one staged column, by unit key; the file only grows."""

    path: Path
    header: Header
    entries: dict[str, Entry]

    @classmethod
    def open(cls, folder: Path, header: Header) -> Ledger:
        """The ledger of a staged column, to be continued, or begun where there is none.

        Raises:
            GalleryError: it was written for another transform, or is damaged.
        """
        path = folder / FILE
        text = path.read_bytes() if path.is_file() else b""
        whole = text[: text.rfind(b"\n") + 1]  # a kill can leave half a line at the end
        if not whole:
            folder.mkdir(parents=True, exist_ok=True)
            whole = header.model_dump_json().encode() + b"\n"
            _write(path, whole, "wb")
        elif whole != text:
            os.truncate(path, len(whole))
        ledger = cls(path, *_parse(whole, path))
        if ledger.header != header:
            raise GalleryError(
                f"column {header.column!r} was begun with transform {ledger.header.transform[:12]}, found "
                f"transform {header.transform[:12]}: finish with the first, or discard column {header.column!r}"
            )
        return ledger

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The ledger of a staged column.

        Raises:
            GalleryError: there is none, or it is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            raise GalleryError(f"no ledger {path}: stage the column again")
        text = path.read_bytes()
        return cls(path, *_parse(text[: text.rfind(b"\n") + 1], path))

    def record(self, entry: Entry) -> None:
        """Add a finished unit; when this returns, it is on disk."""
        _write(self.path, entry.model_dump_json().encode() + b"\n", "ab")
        self.entries[entry.unit] = entry


def _parse(text: bytes, path: Path) -> tuple[Header, dict[str, Entry]]:
    try:
        first, *rest = text.splitlines()
        entries = [Entry.model_validate_json(line) for line in rest]
        return Header.model_validate_json(first), {entry.unit: entry for entry in entries}
    except (ValidationError, ValueError) as error:
        raise GalleryError(f"{path} is damaged: discard the column and stage it again") from error


def _write(path: Path, data: bytes, mode: str) -> None:
    with path.open(mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
