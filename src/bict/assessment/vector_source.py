"""Kinds of file that hold vectors: which columns there are, one column whole, and the vectors block by block."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bict.assessment.names import Column
from bict.embeddings import SPACE_KEY
from bict.errors import VectorError

BLOCK = 8192
"""Rows that are decoded at once."""
ARRAYS = {"id": "ids", "vector": "vectors", "label": "labels"}
"""What the columns are called in an `.npz`."""

Block = tuple[int, Any]
"""The number of the first row, and consecutive vectors from it on: an Arrow column, or an array `(rows, dim)`."""
Blocks = Callable[[NDArray[np.int64]], Iterator[Block]]


@dataclass(frozen=True)
class Source:
    """How to get at the parts of one file.

    Attributes:
        columns: the names there are.
        card: the space card that the file carries, as JSON, or None.
        column: one column `(rows,)`, whole, as Arrow or NumPy has it; nulls are refused, or if they are allowed all is
            text and they are "".
        width: numbers in a vector of a column of so many rows.
        blocks: the vectors of a column in order; blocks without any of the wanted rows, which ascend, may be left out.
        own: what this kind of file calls the columns that others call `id`, `vector` and `label`.
    """

    columns: list[str]
    card: str | bytes | None
    column: Callable[[str, bool], Column]
    width: Callable[[str, int], int]
    blocks: Callable[[str, NDArray[np.int64]], Iterator[Block]]
    own: dict[str, str] = field(default_factory=dict)


def _parquet(path: Path) -> Source:
    with pq.ParquetFile(path) as file:
        return _arrow_source(file.schema_arrow, partial(_parquet_blocks, path))


def _ipc(path: Path) -> Source:
    with pa.memory_map(str(path)) as file:
        return _arrow_source(_ipc_reader(file).schema, partial(_ipc_blocks, path))


def _npz(path: Path) -> Source:
    def column(name: str, nulls: bool) -> NDArray[Any]:
        del nulls
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            return np.asarray(file[name])

    def width(name: str, rows: int) -> int:
        with zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as content:
            version = np.lib.format.read_magic(content)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(content)
        return _array_width(shape, kind, rows)

    def blocks(name: str, rows: NDArray[np.int64]) -> Iterator[Block]:
        del rows
        yield 0, column(name, False)

    with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
        card = str(file["space"]) if "space" in file.files else None
        return Source(list(file.files), card, column, width, blocks, ARRAYS)


def _npy(path: Path) -> Source:
    vectors = np.lib.format.open_memmap(path, mode="r")

    def blocks(name: str, rows: NDArray[np.int64]) -> Iterator[Block]:
        del name, rows
        yield 0, vectors

    def width(name: str, rows: int) -> int:
        del name
        return _array_width(vectors.shape, vectors.dtype, rows)

    def column(name: str, nulls: bool) -> NDArray[Any]:
        del nulls
        return np.arange(len(vectors) if vectors.ndim else 0) if name == "id" else vectors

    return Source(["id", "vector"], None, column, width, blocks)


SOURCES: dict[str, Callable[[Path], Source]] = {
    ".parquet": _parquet,
    ".arrow": _ipc,
    ".feather": _ipc,
    ".npz": _npz,
    ".npy": _npy,
}


def _array_width(shape: tuple[int, ...], kind: np.dtype[Any], rows: int) -> int:
    if len(shape) != 2 or shape[0] != rows or not shape[1] or kind.kind not in "fiu":
        raise VectorError(f"expected vectors as numbers of shape ({rows}, dim), found {kind} of shape {shape}")
    return shape[1]


def _arrow_source(schema: pa.Schema, blocks: Callable[[str, NDArray[np.int64] | None], Iterator[Block]]) -> Source:
    def column(name: str, nulls: bool) -> pa.ChunkedArray:
        values = pa.chunked_array([block for _, block in blocks(name, None)], schema.field(name).type)
        return _column(name, values, nulls)

    def width(name: str, rows: int) -> int:
        _refuse_no_numbers(name, schema.field(name).type)
        for _, block in blocks(name, None):
            lengths = pc.drop_null(pc.list_value_length(block))
            if len(lengths) and lengths[0].as_py():
                return int(lengths[0].as_py())
            if len(lengths):
                break
        raise VectorError(f"column {name!r} of {rows} rows starts with an empty vector, or holds nulls alone")

    return Source(schema.names, (schema.metadata or {}).get(SPACE_KEY), column, width, blocks)


def _column(name: str, values: pa.ChunkedArray, nulls: bool) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_nested(kind):
        raise VectorError(f"column {name!r} holds {kind}, expected one value in a row")
    if values.null_count and not nulls:
        raise VectorError(f"{values.null_count} of {len(values)} values of column {name!r} are null: fill them in")
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    if nulls:
        values = pc.fill_null(values.cast(pa.string()), "")
    return values


def _refuse_no_numbers(name: str, kind: pa.DataType) -> None:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    numbers = (pa.types.is_floating, pa.types.is_integer)
    if not any(test(kind) for test in lists) or not any(test(kind.value_type) for test in numbers):
        raise VectorError(f"column {name!r} holds {kind}, expected lists of numbers")


def _parquet_blocks(path: Path, name: str, rows: NDArray[np.int64] | None) -> Iterator[Block]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:  # one row group may be the whole file
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            last = end - 1 if rows is None else _last_before(rows, end)
            if last >= start:
                at = start
                for batch in file.iter_batches(BLOCK, row_groups=[group], columns=[name]):
                    yield at, batch[name]
                    at += len(batch)
                    if at > last:
                        break
            start = end


def _last_before(rows: NDArray[np.int64], end: int) -> int:
    """The last of the rows, which ascend, that lies before `end`, or -1."""
    found = int(np.searchsorted(rows, end))
    return int(rows[found - 1]) if found else -1


def _ipc_blocks(path: Path, name: str, rows: NDArray[np.int64] | None) -> Iterator[Block]:
    del rows  # the file is mapped into memory: what is not taken of a batch is not read
    with pa.memory_map(str(path)) as file:
        options = pa.ipc.IpcReadOptions(included_fields=[_ipc_reader(file).schema.get_field_index(name)])
        reader = _ipc_reader(file, options)
        whole = isinstance(reader, pa.ipc.RecordBatchFileReader)
        start = 0
        for batch in map(reader.get_batch, range(reader.num_record_batches)) if whole else reader:
            yield start, batch[name]
            start += len(batch)


def _ipc_reader(
    file: pa.MemoryMappedFile, options: pa.ipc.IpcReadOptions | None = None
) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
    """Of a file with a footer, or of a stream."""
    file.seek(0)
    whole = file.read(6) == b"ARROW1"
    file.seek(0)
    return (pa.ipc.open_file if whole else pa.ipc.open_stream)(file, options=options)
