"""Lance tables: addresses, conditions, streams in, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pyarrow as pa

from bict.errors import GalleryError, MissingGallery, RowsChanged
from bict.gallery.stores.base import BATCH_ROWS, check_vector_columns, first_line, require_same_columns
from bict.gallery.stores.lance_bucket import BucketFolder, lacks_credentials, refused
from bict.gallery.stores.lance_folder import Folder, LocalFolder

DEFAULT_TABLE, WORK = "vectors", "upgrades"
ODD = ("#", "%", "//", "..", "\\")
UNREADABLE = (OSError, RuntimeError, pa.ArrowInvalid)
"""What reading a file fails with that another process has just removed."""


def folder_at(uri: str) -> Folder:
    """The folder at a path, or at s3://BUCKET/PREFIX."""
    return BucketFolder(uri) if "://" in uri else LocalFolder(Path(uri))


def parse_address(address: str) -> tuple[Folder, str]:
    """Folder and table name of an address."""
    folder, _, options = address.partition("?")
    table = parse_qs(options).get("table", [DEFAULT_TABLE])[-1]
    if not folder or not table or Path(table).name != table:
        raise GalleryError(f"{address} names no table: expected FOLDER or FOLDER?table=NAME")
    if "://" in folder and (odd := [sign for sign in ODD if sign in folder.partition("://")[2]]):
        raise GalleryError(f"{address} holds {odd[0]}, which storages and URLs read differently: name another prefix")
    return folder_at(folder), table


def absolute(uri: str) -> str:
    """What a process in another working directory opens the same place by."""
    return uri if "://" in uri else str(Path(uri).absolute())


def refuse_occupied(folder: Folder, address: str) -> None:
    """Refuse to make a gallery where something is, besides the locks of those who tried.

    Raises:
        GalleryError: it is a file, or a folder that is not empty.
    """
    is_file = "://" not in folder.uri and Path(folder.uri).is_file()
    if is_file or folder.folders() - {WORK} or folder.files():
        raise GalleryError(f"{address} exists and is not an empty folder: name a new one, or remove it first")


def require_table(folder: Folder, name: str, address: str) -> None:
    """Refuse a folder that does not hold the files of a table.

    Raises:
        MissingGallery: there are none.
        GalleryError: they were never finished.
    """
    if name not in folder.folders():
        raise MissingGallery(f"{address} is not a gallery: found no {name}, as bict embed makes it")
    if "_versions" not in (folder / name).folders():
        cure = "its first writing was cut off and it holds no rows: delete it and embed again"
        raise GalleryError(f"{address} is not a gallery yet, {cure}")


def not_opened(address: str, error: BaseException) -> GalleryError:
    """The refusal of a table that Lance cannot open."""
    if lacks_credentials(address, error):
        return refused(address, error)
    return GalleryError(f"{address} is not a gallery: {first_line(error)}")


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
        if lacks_credentials(address, error):
            raise refused(address, error) from error
        raise GalleryError(f"{address} could not be changed, run again: {first_line(error)}") from error


@contextmanager
def reading(address: str) -> Iterator[None]:
    """What Lance cannot read any more, as rows that changed meanwhile."""
    try:
        yield
    except UNREADABLE as error:
        if lacks_credentials(address, error):
            raise refused(address, error) from error
        raise RowsChanged(f"{address} was changed or cannot be read, run again: {first_line(error)}") from error
