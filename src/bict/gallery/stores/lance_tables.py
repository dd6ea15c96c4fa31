"""Lance tables: addresses, conditions, streams in, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pyarrow as pa

from bict.errors import GalleryError, RowsChanged
from bict.gallery.stores.base import BATCH_ROWS, check_vector_columns, first_line, require_same_columns

DEFAULT_TABLE = "vectors"
UNREADABLE = (OSError, RuntimeError, pa.ArrowInvalid)
"""What reading a file fails with that another process has just removed."""


def parse_address(address: str) -> tuple[Path, str]:
    """Folder and table name of an address."""
    folder, _, options = address.partition("?")
    table = parse_qs(options).get("table", [DEFAULT_TABLE])[-1]
    if not folder or not table or Path(table).name != table:
        raise GalleryError(f"{address} names no table: expected FOLDER or FOLDER?table=NAME")
    return Path(folder), table


def presence(present: Sequence[str], absent: Sequence[str]) -> str:
    """A condition on which vectors are null, with quoted names."""
    some = " OR ".join(f"{_quoted(name)} IS NOT NULL" for name in present) or "TRUE"
    return " AND ".join([f"({some})", *(f"{_quoted(name)} IS NULL" for name in absent)])


def _quoted(name: str) -> str:
    if "`" in name:
        raise GalleryError(f"column name {name!r} holds a backtick: rename the column")
    return f"`{name}`"


@contextmanager
def reader_of(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.RecordBatchReader]:
    """A reader that Lance pulls tables through; what a table's maker raises comes out unwrapped."""
    raised: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from check_vector_columns(first).to_batches(BATCH_ROWS)
            for table in rest:
                same = table.replace_schema_metadata(first.schema.metadata)
                yield from check_vector_columns(require_same_columns(same, first.schema)).to_batches(BATCH_ROWS)
        except BaseException as error:
            raised.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(first.schema, batches())
    except Exception:
        if raised:
            raise raised[0] from None
        raise


@contextmanager
def changing(address: str, passed: type[BaseException] | tuple[()] = ()) -> Iterator[None]:
    """What Lance refuses to change, in one line; `passed` comes out as it is."""
    try:
        yield
    except passed:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # every refused Lance commit is one of these
        raise GalleryError(f"{address} could not be changed, run again: {first_line(error)}") from error


@contextmanager
def reading(address: str) -> Iterator[None]:
    """What Lance cannot read any more, as rows that changed meanwhile."""
    try:
        yield
    except UNREADABLE as error:
        raise RowsChanged(f"{address} was changed or cannot be read, run again: {first_line(error)}") from error
