"""A gallery in a folder, as one LanceDB table `vectors`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.embeddings import arrow_to_vectors, vectors_to_arrow
from bict.errors import GalleryError
from bict.gallery.metadata import METADATA_KEY
from bict.gallery.stores.base import BATCH_ROWS, Hits, Unit, check_finite, check_vector_columns
from bict.gallery.stores.exact import exact_search

if TYPE_CHECKING:
    import lance
    from lance.fragment import LanceFragment

TABLE = "vectors.lance"
SCORES_AT_ONCE = 2**24


class LanceStore:
    """Rows in Lance fragments: a unit is a fragment, a staged unit is one more data file of it.

    A new column first exists as nulls (metadata only). Its data files are written beside the others and become
    visible together, in one commit. Lance is imported when a store is first created or opened.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.work_dir = Path(address) / "upgrades"
        self._path = Path(address) / TABLE
        self._data = self._refresh()

    @classmethod
    def create(cls, address: str, tables: Iterable[pa.Table], metadata: str, *, unit_rows: int) -> Self:
        """Write tables of one schema as a new gallery; what was written is removed when a table is refused."""
        import lance  # noqa: PLC0415

        folder = Path(address)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise GalleryError(f"{address} exists and is not an empty folder: name a new one, or remove it first")
        stream = iter(tables)
        first = next(stream, None)
        if first is None or not len(first):
            raise GalleryError(f"nothing to store in {address}: expected at least one row")
        first = first.replace_schema_metadata({METADATA_KEY: metadata})
        path = folder / TABLE
        try:
            with _reader(first, stream) as reader:
                lance.write_dataset(reader, str(path), max_rows_per_file=unit_rows)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(address)

    @classmethod
    def open(cls, address: str) -> Self:
        """An existing gallery folder."""
        if not (Path(address) / TABLE).is_dir():
            raise GalleryError(
                f"{address} is not a gallery: found no {TABLE} there, expected a folder made by Gallery.create"
            )
        if not (Path(address) / TABLE / "_versions").is_dir():
            raise GalleryError(
                f"{address} is not a gallery yet, its first writing was cut off and it holds no rows: "
                "delete it and embed again"
            )
        return cls(address)

    def _refresh(self) -> lance.LanceDataset:
        import lance  # noqa: PLC0415

        try:  # a fresh handle: one that lived through a commit may hold dictionaries that the next commit refuses
            self._data = lance.dataset(str(self._path))
        except (OSError, ValueError) as error:
            raise GalleryError(f"{self.address} is not a gallery: {_first_line(error)}") from error
        return self._data

    def read_metadata(self) -> str | None:
        """The metadata document of the newest version, which the next `write_metadata` builds upon."""
        return self._refresh().schema_metadata.get(METADATA_KEY)

    def write_metadata(self, text: str) -> None:
        """One metadata commit on the version last read."""
        with _conflicts(self.address):
            self._data.update_schema_metadata({METADATA_KEY: text})

    def schema(self) -> pa.Schema:
        """The newest schema."""
        return self._refresh().schema

    def count(self) -> int:
        """How many rows there are."""
        return int(self._refresh().count_rows())

    def append(self, table: pa.Table) -> None:
        """Add rows as new fragments, in one commit."""
        import lance  # noqa: PLC0415

        check_vector_columns(table)
        with _conflicts(self.address):
            lance.write_dataset(table.replace_schema_metadata(None), self._refresh(), mode="append")

    def scan(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows, fragment after fragment."""
        yield from self._refresh().to_batches(columns=list(columns), batch_size=batch_rows)

    def fetch(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The rows with these ids, found in one pass over the ids."""
        data, start, found = self._refresh(), 0, [np.zeros(0, np.int64)]
        for batch in data.to_batches(columns=["id"], batch_size=BATCH_ROWS):
            found.append(start + np.flatnonzero(pc.is_in(batch["id"], value_set=ids)))
            start += len(batch)
        return data.take(np.concatenate(found).tolist(), columns=["id", *columns])

    def search(self, column: str, queries: NDArray[np.float32], k: int, metric: str) -> Hits:
        """One pass over the column, no index."""
        data = self._refresh()
        batch_rows = max(64, min(BATCH_ROWS, SCORES_AT_ONCE // max(1, len(queries))))
        batches = (
            (batch["id"].to_numpy(zero_copy_only=False), arrow_to_vectors(batch[column]))
            for batch in data.to_batches(columns=["id", column], batch_size=batch_rows)
        )
        return exact_search(batches, queries, k, metric, rows=data.count_rows())

    def units(self) -> list[Unit]:
        """One unit per fragment; its key covers the file that holds the ids and the rows deleted from it."""
        data = self._refresh()
        return [Unit(_unit_key(data, fragment), fragment.count_rows()) for fragment in data.get_fragments()]

    def _fragment(self, unit: Unit) -> LanceFragment:
        fragment = self._data.get_fragment(int(unit.key.split("-")[0]))
        if fragment is None or _unit_key(self._data, fragment) != unit.key:
            raise GalleryError(f"rows of {self.address} were changed by another process (unit {unit.key}): run again")
        return fragment

    def read_unit(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of one fragment."""
        yield from self._fragment(unit).to_batches(columns=list(columns), batch_size=BATCH_ROWS)

    def begin_stage(self, column: str, dim: int) -> None:
        """Add the column as nulls; one of another width, left by staging that was given up, is dropped first."""
        field = pa.field(column, pa.list_(pa.float32(), dim))
        schema = self.schema()
        if column in schema.names and schema.field(column).type != field.type:
            self.drop_column(column)
        if column not in self.schema().names:
            with _conflicts(self.address):
                self._data.add_columns(field)
        self._refresh()

    def stage_unit(self, unit: Unit, column: str, vectors: Iterable[NDArray[np.float32]]) -> str:
        """Write one data file and sync it to disk; the receipt is its name."""
        from lance.file import LanceFileWriter  # noqa: PLC0415

        fragment = self._fragment(unit)
        schema = pa.schema([self._data.schema.field(column)])
        path = self._path / "data" / f"{uuid.uuid4().hex}.lance"
        try:
            with LanceFileWriter(str(path), schema, version=self._data.data_storage_version) as writer:
                for array in _placed(vectors, _live_offsets(fragment), fragment.physical_rows):
                    writer.write_batch(pa.record_batch([array], schema=schema))
            _sync(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path.name

    def commit_staged(self, column: str, receipts: Mapping[str, str]) -> None:
        """One merge commit that gives every fragment its new data file."""
        import lance  # noqa: PLC0415
        from lance.fragment import DataFile  # noqa: PLC0415

        data, fragments = self._refresh(), []
        field = next(field.id() for field in data.lance_schema.fields() if field.name() == column)
        for unit in self.units():
            if unit.key not in receipts:
                raise GalleryError(
                    f"rows were added to {self.address} while {column!r} was staged: stage again to finish"
                )
            fragment = self._fragment(unit).metadata
            others = [file for file in fragment.files if field not in file.fields]
            fragment.files = [*others, DataFile.create(data, receipts[unit.key])]
            fragments.append(fragment)
        with _conflicts(self.address):
            merge = lance.LanceOperation.Merge(fragments, data.lance_schema)
            lance.LanceDataset.commit(str(self._path), merge, read_version=data.version)

    def drop_column(self, column: str) -> None:
        """Leave the column out of the next version."""
        if column in self.schema().names:
            with _conflicts(self.address):
                self._data.drop_columns([column])


@contextmanager
def _reader(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.RecordBatchReader]:
    """A reader that Lance pulls tables through; what a table's maker raises comes out unwrapped."""
    raised: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from check_vector_columns(first).to_batches()
            for table in rest:
                same = table.replace_schema_metadata(first.schema.metadata)
                yield from check_vector_columns(_require_schema(same, first.schema)).to_batches()
        except BaseException as error:
            raised.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(first.schema, batches())
    except Exception:
        if raised:
            raise raised[0] from None
        raise


def _require_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema != schema:
        raise GalleryError(f"a batch has columns {_fields(table.schema)}, the first had {_fields(schema)}")
    return table


@contextmanager
def _conflicts(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # every refused Lance commit is one of these
        raise GalleryError(f"{address} could not be changed, run again: {_first_line(error)}") from error


def _unit_key(data: lance.LanceDataset, fragment: LanceFragment) -> str:
    ids = next(field.id() for field in data.lance_schema.fields() if field.name() == "id")
    found = fragment.metadata.to_json()
    files = [file["path"] for file in found["files"] if ids in file["fields"]]
    identity = json.dumps([files, found["deletion_file"]], sort_keys=True)
    return f"{fragment.fragment_id}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _live_offsets(fragment: LanceFragment) -> NDArray[np.int64]:
    """Where the rows that are not deleted lie within the fragment."""
    if not fragment.num_deletions:
        return np.arange(fragment.physical_rows)
    batches = fragment.to_batches(columns=["id"], with_row_address=True)
    return np.concatenate([batch["_rowaddr"].to_numpy() for batch in batches]).astype(np.int64) & 0xFFFFFFFF


def _placed(
    vectors: Iterable[NDArray[np.float32]], offsets: NDArray[np.int64], physical_rows: int
) -> Iterator[pa.FixedSizeListArray]:
    """Blocks of vectors `(rows, dim)` as arrays that hold a null for every deleted row between them."""
    done, start = 0, 0
    for block in vectors:
        done += len(block)
        if done > len(offsets):
            break
        stop = physical_rows if done == len(offsets) else int(offsets[: done + 1][-1])
        picked = np.full(stop - start, -1, np.int64)
        picked[offsets[done - len(block) : done] - start] = np.arange(len(block))
        yield vectors_to_arrow(check_finite(block, "staged")).take(pa.array(picked, mask=picked < 0))
        start = stop
    if done != len(offsets):
        raise GalleryError(f"{done} vectors were staged for {len(offsets)} rows: one vector per row is needed")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fields(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
