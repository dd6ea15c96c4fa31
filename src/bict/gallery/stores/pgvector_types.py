"""Arrow columns as PostgreSQL columns: which type holds which, binary COPY, and pages of rows read as whole columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.errors import GalleryError
from bict.gallery.metadata import VECTOR_COLUMN
from bict.gallery.stores.base import present_vectors

COPY_BYTES = 2**25
COPY_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
EPOCH_DAYS = 10957  # from 1970-01-01 to 2000-01-01
EPOCH_MICROSECONDS = EPOCH_DAYS * 86_400_000_000
ID_TYPES = {
    "text": ("text", pa.string()),
    "varchar": ("text", pa.string()),
    "bpchar": ("bpchar", pa.string()),
    "uuid": ("uuid", pa.string()),
    "int2": ("smallint", pa.int16()),
    "int4": ("integer", pa.int32()),
    "int8": ("bigint", pa.int64()),
}

Bytes = NDArray[np.uint8]


class Kind(NamedTuple):
    """A PostgreSQL type that is read and written as such: its name, the Arrow type it is read as, how it is read."""

    sql: str
    arrow: pa.DataType
    read: str = "{column}"


KINDS = {
    "bool": Kind("boolean", pa.bool_()),
    "int2": Kind("smallint", pa.int16()),
    "int4": Kind("integer", pa.int32()),
    "int8": Kind("bigint", pa.int64()),
    "float4": Kind("real", pa.float32()),
    "float8": Kind("double precision", pa.float64()),
    "text": Kind("text", pa.string(), "{column}::text"),
    "bytea": Kind("bytea", pa.binary()),
    "jsonb": Kind("jsonb", pa.string(), "{column}::text"),
    "date": Kind("date", pa.date32(), "{column} - '1970-01-01'::date"),
    "timestamp": Kind("timestamp", pa.timestamp("us"), "(extract(epoch from {column}) * 1000000)::bigint"),
    "timestamptz": Kind(
        "timestamp with time zone", pa.timestamp("us", "UTC"), "(extract(epoch from {column}) * 1000000)::bigint"
    ),
    "vector": Kind("vector", pa.null(), "vector_send({column})"),
}


@dataclass(frozen=True)
class Field:
    """One column of a table.

    Attributes:
        name: its name.
        kind: the key of `KINDS` it is read and written as; "text" for every other type.
        arrow: the Arrow type it is shown as.
        type: its PostgreSQL type, as the catalogue writes it in SQL.
        type_name: the same as the catalogue names it.
        is_id: whether rows can be found by it.
        required: whether it takes no nulls.
        generated: whether the server computes it.
        declared: whether a vector column says its width.
    """

    name: str
    kind: str
    arrow: pa.DataType
    type: str = "text"
    type_name: str = "text"
    is_id: bool = False
    required: bool = False
    generated: bool = False
    declared: bool = True

    @property
    def dim(self) -> int:
        """The width of a vector column."""
        return int(self.arrow.list_size) if self.kind == "vector" else 0

    @property
    def sql(self) -> str:
        """Its type with the width that it declares."""
        return f"vector({self.dim})" if self.kind == "vector" and self.declared else self.type


def stored_as(name: str, arrow: pa.DataType) -> Field:
    """The column that keeps values of an Arrow type.

    Raises:
        GalleryError: no PostgreSQL type gives them back as they are.
    """
    kind = _kind_of(name, arrow)
    if kind is None:
        raise GalleryError(
            f"payload column {name!r} is of type {arrow}, which PostgreSQL cannot keep: convert it first"
        )
    return Field(name, kind, arrow, KINDS[kind].sql)


def _kind_of(name: str, arrow: pa.DataType) -> str | None:
    if pa.types.is_dictionary(arrow):
        return _kind_of("", arrow.value_type)
    if VECTOR_COLUMN.fullmatch(name) and pa.types.is_fixed_size_list(arrow) and pa.types.is_floating(arrow.value_type):
        return "vector"
    if pa.types.is_nested(arrow):
        return "jsonb" if _fits_json(arrow) else None
    if pa.types.is_timestamp(arrow) and arrow.unit != "ns":
        return "timestamptz" if arrow.tz else "timestamp"
    simple: list[tuple[Callable[[pa.DataType], bool], str]] = [
        (pa.types.is_boolean, "bool"),
        (lambda kind: kind in (pa.int8(), pa.uint8(), pa.int16()), "int2"),
        (lambda kind: kind in (pa.uint16(), pa.int32()), "int4"),
        (lambda kind: kind in (pa.uint32(), pa.int64()), "int8"),
        (lambda kind: kind in (pa.float16(), pa.float32()), "float4"),
        (pa.types.is_float64, "float8"),
        (lambda kind: kind in (pa.binary(), pa.large_binary()), "bytea"),
        (pa.types.is_date32, "date"),
        (_fits_text, "text"),
    ]
    return next((kind for test, kind in simple if test(arrow)), None)


def _fits_json(arrow: pa.DataType) -> bool:
    """Whether values survive a trip through JSON: lists and structs of text, numbers and booleans."""
    if pa.types.is_struct(arrow):
        return all(_fits_json(arrow.field(i).type) for i in range(arrow.num_fields))
    if any(test(arrow) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return _fits_json(arrow.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    return pa.types.is_boolean(arrow) or any(test(arrow) for test in tests)


def _fits_text(arrow: pa.DataType) -> bool:
    """Whether Arrow writes values as text and reads them again."""
    try:
        pa.array([], arrow).cast(pa.string()).cast(arrow)
    except pa.ArrowNotImplementedError:
        return False
    return True


def copy_blocks(table: pa.Table, fields: Sequence[Field]) -> Iterator[bytes]:
    """The rows of a table in PostgreSQL's binary COPY format, some at a time."""
    widths = sum(4 * field.dim + 64 for field in fields)
    yield COPY_BEGIN
    for start in range(0, len(table), max(1, COPY_BYTES // widths)):
        part = table.slice(start, max(1, COPY_BYTES // widths))
        columns = [encode(_plain(part[field.name]), field) for field in fields]
        yield joined_rows(columns, len(part))
    yield COPY_END


def joined_rows(columns: Sequence[pa.Array], rows: int) -> bytes:
    """Encoded columns put together row by row."""
    if not rows:
        return b""
    head = pa.scalar(len(columns).to_bytes(2, "big"), pa.binary())
    whole = pc.binary_join_element_wise(head, *columns, pa.scalar(b"", pa.binary()))
    offsets = np.frombuffer(whole.buffers()[1], np.int32)[whole.offset : whole.offset + rows + 1]
    return bytes(memoryview(whole.buffers()[2])[offsets[0] : offsets[-1]])


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def encode(column: pa.Array, field: Field) -> pa.Array:
    """Each value of a column as COPY wants it: its length and its bytes."""
    if isinstance(column, pa.ChunkedArray):  # combine_chunks of no chunks
        column = column.combine_chunks()
    if field.kind == "vector":
        vectors, valid = present_vectors(column)
        places = np.cumsum(valid) - 1
        encoded = fixed(vector_bytes(vectors))
        return encoded if valid.all() else pc.fill_null(encoded.take(pa.array(places, mask=~valid)), NULL)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if field.kind == "jsonb":
        return _variable(_as_json(column, field.name), b"\x01")
    if field.kind in ("text", "bytea"):
        return _variable(column.cast(KINDS[field.kind].arrow).cast(pa.binary()))
    wire = column.cast(KINDS[field.kind].arrow)
    numbers = _numbers(wire, field.kind)
    encoded = fixed(numbers.view(np.uint8).reshape(len(numbers), -1))
    return pc.if_else(wire.is_valid(), encoded, pa.scalar(NULL, pa.binary()))


def _numbers(wire: pa.Array, kind: str) -> NDArray[Any]:
    """Big-endian values, anything where there is null."""
    if kind == "bool":
        return np.asarray(wire.fill_null(False).to_numpy(zero_copy_only=False), np.uint8)
    if kind in ("float4", "float8"):
        return np.asarray(wire.fill_null(0.0).to_numpy(zero_copy_only=False), ">f" + kind[-1])
    if kind == "date":
        return np.asarray(wire.cast(pa.int32()).fill_null(0).to_numpy() - EPOCH_DAYS, ">i4")
    if kind in ("timestamp", "timestamptz"):
        return np.asarray(wire.cast(pa.int64()).fill_null(0).to_numpy() - EPOCH_MICROSECONDS, ">i8")
    return np.asarray(wire.fill_null(0).to_numpy(), ">i" + kind[-1])


def vector_bytes(vectors: NDArray[np.float32]) -> Bytes:
    """`(rows, dim)` vectors as `(rows, 4 + 4 dim)` bytes in pgvector's binary format."""
    rows, dim = vectors.shape
    found = np.zeros((rows, 4 + 4 * dim), np.uint8)
    found[:, :2] = np.frombuffer(dim.to_bytes(2, "big"), np.uint8)
    found[:, 4:] = vectors.astype(">f4").view(np.uint8).reshape(rows, 4 * dim)
    return found


def fixed(data: Bytes) -> pa.Array:
    """`(rows, width)` bytes as COPY fields of one width."""
    rows, width = data.shape
    whole = np.empty((rows, 4 + width), np.uint8)
    whole[:, :4] = np.frombuffer(width.to_bytes(4, "big"), np.uint8)
    whole[:, 4:] = data
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(4 + width)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(whole)])


def _variable(values: pa.Array, before: bytes = b"") -> pa.Array:
    lengths = pc.binary_length(values).fill_null(0).to_numpy().astype(np.int64) + len(before)
    prefix = fixed_length_bytes(lengths)
    joined = pc.binary_join_element_wise(prefix, pa.scalar(before, pa.binary()), values, pa.scalar(b"", pa.binary()))
    return pc.fill_null(joined, NULL)


def fixed_length_bytes(lengths: NDArray[np.int64]) -> pa.Array:
    """Big-endian 32-bit numbers as Arrow binary."""
    whole = lengths.astype(">i4").view(np.uint8)
    offsets = np.arange(len(lengths) + 1, dtype=np.int32) * np.int32(4)
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(whole)])


def _as_json(column: pa.Array, name: str) -> pa.Array:
    try:
        texts = [None if value is None else json.dumps(value, allow_nan=False) for value in column.to_pylist()]
    except ValueError as error:
        raise GalleryError(
            f"payload column {name!r} holds NaN or infinity in a list, which JSON cannot keep"
        ) from error
    return pa.array(texts, pa.string()).cast(pa.binary())


class RawVectors(NamedTuple):
    """The bytes of the vectors of a page, and which rows have one."""

    whole: bytes
    there: NDArray[np.bool_]
    width: int

    def pieces(self) -> list[bytes | memoryview]:
        """One piece of bytes per row."""
        view, places = memoryview(self.whole), np.cumsum(self.there) - 1
        width = self.width
        return [
            view[place * width : (place + 1) * width] if there else b"\0"
            for place, there in zip(places.tolist(), self.there.tolist(), strict=True)
        ]


def aggregate(number: int, field: Field) -> str:
    """The SQL that gathers column `c<number>` of a page: vectors end to end, beside which rows have one."""
    if field.kind == "vector":
        there = f"CASE WHEN c{number} IS NULL THEN '\\x00' ELSE '\\x01' END::bytea"
        return f"string_agg(c{number}, ''), string_agg({there}, '')"
    return f"array_agg(c{number})"


def decode(fields: Sequence[Field], values: Sequence[Any]) -> tuple[list[pa.Array], list[RawVectors]]:
    """The columns of a page from what `aggregate` gathered, and the bytes of its vector columns as the server has them.

    Raises:
        GalleryError: vectors of one column have different widths.
    """
    columns, raw, rest = [], [], iter(values)
    for field in fields:
        if field.kind == "vector":
            whole, there = next(rest) or b"", np.frombuffer(next(rest), np.uint8).astype(bool)
            columns.append(_to_vectors(whole, there, field))
            raw.append(RawVectors(whole, there, 4 + 4 * field.dim))
        else:
            columns.append(_to_arrow(next(rest), field))
    return columns, raw


def _to_vectors(whole: bytes, there: NDArray[np.bool_], field: Field) -> pa.Array:
    width, present = 4 + 4 * field.dim, int(there.sum())
    if len(whole) != present * width:
        raise GalleryError(f"column {field.name!r} holds vectors of different widths: expected {field.dim} everywhere")
    values = np.frombuffer(whole, np.uint8).reshape(present, width)[:, 4:].view(">f4").astype(np.float32)
    if present == len(there):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), field.dim)
    spread = np.zeros((len(there), field.dim), np.float32)
    spread[there] = values
    return pa.FixedSizeListArray.from_arrays(pa.array(spread.reshape(-1)), field.dim, mask=pa.array(~there))


def _to_arrow(values: list[Any], field: Field) -> pa.Array:
    if field.kind == "jsonb":
        return pa.array([None if text is None else json.loads(text) for text in values], field.arrow)
    wire = KINDS[field.kind].arrow
    if field.kind in ("timestamp", "timestamptz"):
        found = pa.array(values, pa.int64()).cast(wire)
    elif field.kind == "date":
        found = pa.array(values, pa.int32()).cast(wire)
    else:
        found = pa.array(values, wire)
    if pa.types.is_dictionary(field.arrow):
        return found.cast(field.arrow.value_type).dictionary_encode().cast(field.arrow)
    return found.cast(field.arrow)
