"""Rows as Qdrant points and back: ids, payload of any Arrow type, and one named vector per column."""

from __future__ import annotations

import base64
import binascii
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.embeddings import vectors_to_arrow
from bict.errors import GalleryError
from bict.gallery.stores.base import present_vectors

if TYPE_CHECKING:
    from qdrant_client.models import PointStruct, PointVectors, Record

PointId = int | str
ID_KEY = "bict_id"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "bict:qdrant")
FLOATS_AT_ONCE = 2**19
ROWS_AT_ONCE = 1000


def point_id(value: PointId) -> PointId:
    """The point that a row with this id becomes: the number or UUID itself, else a UUID made from the text.

    Raises:
        GalleryError: the number is negative.
    """
    if isinstance(value, int):
        if value < 0:
            raise GalleryError(f"found id {value}, a Qdrant point takes integers from 0 on, or text")
        return value
    try:
        if str(uuid.UUID(value)) == value:
            return value
    except ValueError:
        pass
    return str(uuid.uuid5(NAMESPACE, value))


def order_of(point: PointId) -> tuple[bool, PointId]:
    """Sorts points as a collection is read: numbers, then UUIDs."""
    return isinstance(point, str), point


def row_id(record: Record) -> PointId:
    """The id of the row that a point holds."""
    kept = (record.payload or {}).get(ID_KEY)
    return kept if isinstance(kept, str) else plain_id(record)


def plain_id(record: Record) -> PointId:
    """A point's id, as a number or as text."""
    return record.id if isinstance(record.id, int) else str(record.id)


def to_points(table: pa.Table, id_column: str, vectors: Sequence[str]) -> Iterator[list[PointStruct]]:
    """A table as points, in pieces of bounded size; nulls are left out.

    Raises:
        GalleryError: an id is null or negative, or a column is of a type that payload cannot keep.
    """
    from qdrant_client.models import PointStruct  # noqa: PLC0415

    named = [name for name in table.column_names if name in vectors]
    payload = [name for name in table.column_names if name not in (*named, id_column)]
    refuse_unfit(table.schema, payload)
    for part in _pieces(table, sum(table.schema.field(name).type.list_size for name in named)):
        ids = part[id_column].to_pylist()
        if None in ids:
            raise GalleryError(f"column {id_column!r} holds nulls: every row needs an id")
        texts: list[dict[str, Any]] = [{ID_KEY: value} if isinstance(value, str) else {} for value in ids]
        _fill(texts, {name: to_json(part[name]) for name in payload})
        found: list[dict[str, Any]] = [{} for _ in ids]
        _fill(found, {name: _lists(part[name].combine_chunks()) for name in named})
        yield [
            PointStruct(id=point_id(value), vector=vector, payload=text)
            for value, vector, text in zip(ids, found, texts, strict=True)
        ]


def to_vectors(points: Sequence[PointId], column: str, vectors: pa.Array) -> Iterator[list[PointVectors]]:
    """Vectors of points, in pieces of bounded size; points whose vector is null are left out."""
    from qdrant_client.models import PointVectors  # noqa: PLC0415

    present, there = present_vectors(vectors)
    wanted = np.flatnonzero(there)
    step = max(1, min(ROWS_AT_ONCE, FLOATS_AT_ONCE // max(1, present.shape[1])))
    for start in range(0, len(wanted), step):
        rows = zip(wanted[start : start + step], present[start : start + step].tolist(), strict=True)
        yield [PointVectors(id=points[row], vector={column: vector}) for row, vector in rows]


def _pieces(table: pa.Table, width: int) -> Iterator[pa.Table]:
    step = max(1, min(ROWS_AT_ONCE, FLOATS_AT_ONCE // max(1, width)))
    for start in range(0, len(table), step):
        yield table.slice(start, step)


def _fill(into: list[dict[str, Any]], columns: Mapping[str, Sequence[Any]]) -> None:
    for name, values in columns.items():
        for entry, value in zip(into, values, strict=True):
            if value is not None:
                entry[name] = value


def _lists(column: pa.Array) -> list[list[float] | None]:
    present, there = present_vectors(column)
    rows = iter(present.tolist())
    return [next(rows) if has else None for has in there]


def to_batch(
    records: Sequence[Record], fields: Sequence[pa.Field], id_column: str, vectors: frozenset[str]
) -> pa.RecordBatch:
    """Points as rows with these columns.

    Raises:
        GalleryError: ids or payload values are not of the columns' types.
    """
    columns = []
    for field in fields:
        if field.name in vectors:
            columns.append(_vector_column([vector_of(record, field.name) for record in records], field.type))
            continue
        own = field.name == id_column
        values = [row_id(record) if own else (record.payload or {}).get(field.name) for record in records]
        try:
            columns.append(pa.array(values, field.type) if own else from_json(values, field.type))
        except (pa.ArrowException, TypeError, ValueError, binascii.Error) as error:
            kind = "ids" if own else f"values of {field.name!r} in the payload"
            raise GalleryError(f"{kind} are not all of type {field.type}: make them of one type ({error})") from error
    return pa.record_batch(columns, schema=pa.schema(fields))


def vector_of(record: Record, name: str) -> list[float] | None:
    """A point's vector of this name, if it has one."""
    return record.vector.get(name) if isinstance(record.vector, dict) else None  # type: ignore[return-value]


def _vector_column(found: list[list[float] | None], kind: pa.DataType) -> pa.Array:
    there = np.array([vector is not None for vector in found], bool)
    if not there.any():
        return pa.nulls(len(found), kind)
    values = vectors_to_arrow(as_vectors([vector for vector in found if vector is not None], kind.list_size))
    return values if there.all() else values.take(pa.array(np.cumsum(there) - 1, mask=~there))


def as_vectors(found: Sequence[list[float]], dim: int) -> NDArray[np.float32]:
    """Lists of numbers as `(rows, dim)`."""
    return np.asarray(found, np.float32).reshape(len(found), dim)


def refuse_unfit(schema: pa.Schema, names: Iterable[str]) -> None:
    """Refuse columns that payload cannot keep.

    Raises:
        GalleryError: naming the first.
    """
    for name in names:
        if name == ID_KEY:
            raise GalleryError(f"payload column {name!r} has a name that bict needs itself: rename it")
        kind = _value_type(schema.field(name).type)
        if not _plain(kind) and not _binary(kind) and _carrier(kind) is None:
            raise GalleryError(f"payload column {name!r} is of type {kind}, which Qdrant cannot keep: cast it first")


def to_json(column: pa.ChunkedArray) -> list[Any]:
    """Values of a column as JSON can hold them, from which `from_json` makes the same column."""
    kind = _value_type(column.type)
    column = column.cast(kind)
    if _binary(kind):
        return [None if value is None else base64.b64encode(value).decode() for value in column.to_pylist()]
    carrier = _carrier(kind)
    return [_spelled(value) for value in (column.cast(carrier) if carrier else column).to_pylist()]


def from_json(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The column that `to_json` was given."""
    inner = _value_type(kind)
    if _binary(inner):
        array = pa.array([None if value is None else base64.b64decode(value) for value in values], inner)
    else:
        carrier = _carrier(inner)
        array = pa.array([_unspelled(value, inner) for value in values], carrier or inner)
        array = array.cast(inner) if carrier else array
    if not pa.types.is_dictionary(kind):
        return array
    coded = array.dictionary_encode()
    return pa.DictionaryArray.from_arrays(coded.indices.cast(kind.index_type), coded.dictionary, ordered=kind.ordered)


def infer_fields(records: Sequence[Record]) -> list[pa.Field]:
    """Payload columns of points that bict did not write; keys whose values are of no one type are left out."""
    names = dict.fromkeys(name for record in records for name in record.payload or {} if name != ID_KEY)
    fields = []
    for name in names:
        try:
            kind = pa.array([(record.payload or {}).get(name) for record in records]).type
        except pa.ArrowException:
            continue
        fields.append(pa.field(name, pa.string() if pa.types.is_null(kind) else kind))
    return fields


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(kind: pa.DataType) -> bool:
    """Whether JSON has values of this type."""
    tests = ("null", "boolean", "integer", "floating", "string", "large_string")
    if any(getattr(pa.types, f"is_{test}")(kind) for test in tests):
        return True
    if any(getattr(pa.types, f"is_{test}")(kind) for test in ("list", "large_list", "fixed_size_list")):
        return _plain(kind.value_type)
    return bool(pa.types.is_struct(kind)) and all(_plain(field.type) for field in kind)


def _binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _carrier(kind: pa.DataType) -> pa.DataType | None:
    """The type in whose values this one is written, None where there is none or none is needed."""
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind) or pa.types.is_decimal(kind):
        return pa.string()
    if pa.types.is_time32(kind):
        return pa.int32()
    if pa.types.is_time64(kind) or pa.types.is_duration(kind) or pa.types.is_date64(kind):
        return pa.int64()
    return None


def _spelled(value: Any) -> Any:  # noqa: ANN401
    """A value with NaN and infinity as words, which JSON has no numbers for."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    return {name: _spelled(item) for name, item in value.items()} if isinstance(value, dict) else value


def _unspelled(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401
    if isinstance(value, str | int) and pa.types.is_floating(kind):
        return float(value)
    if isinstance(value, list) and not pa.types.is_struct(kind):
        return [_unspelled(item, kind.value_type) for item in value]
    if isinstance(value, dict) and pa.types.is_struct(kind):
        return {field.name: _unspelled(value.get(field.name), field.type) for field in kind}
    return value


def has_vector(present: Sequence[str], absent: Sequence[str] = ()) -> Any:  # noqa: ANN401
    """A filter: a vector in one of `present` (or `present` is empty) and in none of `absent`."""
    from qdrant_client.models import Filter, HasVectorCondition  # noqa: PLC0415

    some, none = ([HasVectorCondition(has_vector=name) for name in names] for names in (present, absent))
    return Filter(should=some or None, must_not=none or None) if some or none else None
