"""Columns of ids, class names and parts, as Arrow holds them: no object for a row, and a class name once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.embeddings import check_ids
from bict.errors import VectorError

COMPARED = 65_536
"""Sorted ids that are copied at once to compare them with their neighbours."""

Column: TypeAlias = NDArray[Any] | pa.ChunkedArray


def ids_of(column: Column) -> pa.Array:
    """Ids `(rows,)` as integers or `large_string`, unique.

    Raises:
        VectorError: another shape or type, or an id that occurs twice.
    """
    if isinstance(column, pa.ChunkedArray):
        if _is_text(column.type):
            column = column.cast(pa.large_string())
        elif not pa.types.is_integer(column.type):
            column = column.to_numpy()
    if not isinstance(column, pa.ChunkedArray):
        column = check_ids(column)
        return pa.array(column, pa.large_string() if column.dtype.kind == "U" else None)
    ids = column.combine_chunks()
    repeated = ids.take(pa.array(_twins(ids)[0])).unique()
    if len(repeated):
        raise VectorError(f"{len(repeated)} ids occur more than once, the first is {repeated[0]}: ids must be unique")
    return ids


def names_of(column: Column) -> pa.DictionaryArray:
    """Names `(rows,)` as text, each held once; a NaN is ""."""
    if not isinstance(column, pa.ChunkedArray):
        return pa.array(_texts(column), pa.large_string()).dictionary_encode()
    codes = column.dictionary_encode().combine_chunks()
    names = pa.array(_texts(codes.dictionary.to_numpy(zero_copy_only=False)), pa.large_string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(codes.indices), names.dictionary)


def taken(column: pa.Array, rows: NDArray[Any]) -> NDArray[Any]:
    """Ids or names of some rows, as NumPy holds them."""
    part = column.take(pa.array(rows, pa.int64()))
    values = (part.dictionary_decode() if isinstance(part, pa.DictionaryArray) else part).to_numpy(zero_copy_only=False)
    return np.asarray(values if values.dtype.kind in "iu" else values.astype(str))


def joined(old: pa.Array, new: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the ids that both have, in old and in new, both `(paired,)`, in ascending order of the ids.

    Sorted together, two that are one id are neighbours: besides a copy of the ids, this takes 8 bytes for each of them.
    """
    if old.type != new.type:
        kind = _joint_type(old.type, new.type)
        old, new = old.cast(kind), new.cast(kind)
    first, second = _twins(pa.concat_arrays([old, new]))
    return first, second - len(old)


def differing(one: pa.DictionaryArray, other: pa.DictionaryArray) -> NDArray[np.int64]:
    """The rows in which two columns `(rows,)` have another name."""
    known = pc.index_in(other.dictionary, value_set=one.dictionary).fill_null(-1)
    return np.flatnonzero(one.indices.to_numpy() != known.to_numpy()[other.indices.to_numpy()])


def count_empty(names: pa.DictionaryArray) -> int:
    """How many rows have the name ""."""
    code = pc.index(names.dictionary, "").as_py()
    return int(pc.sum(pc.equal(names.indices, code)).as_py() or 0) if code >= 0 else 0


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _texts(values: NDArray[Any]) -> NDArray[np.str_]:
    texts = values.astype(str)
    return np.where(np.isnan(values), "", texts) if values.dtype.kind == "f" else texts


def _joint_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Of two types of integers; signed and unsigned of 64 bits have none in common but text."""
    if pa.uint64() not in (one, other):
        return pa.int64()
    signed = any(pa.types.is_signed_integer(kind) for kind in (one, other))
    return pa.large_string() if signed else pa.uint64()


def _twins(values: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of equal values that are neighbours when all are sorted; of two, the earlier one is the first."""
    order = pc.sort_indices(values)
    found = [np.zeros((2, 0), np.int64)]
    for start in range(0, len(values), COMPARED):
        near = order[start : start + COMPARED + 1]
        part, rows = values.take(near), near.to_numpy().view(np.int64)
        same = np.flatnonzero(pc.equal(part[:-1], part[1:]).to_numpy(zero_copy_only=False))
        found.append(np.stack([rows[same], rows[same + 1]]))
    first, second = np.concatenate(found, axis=1)
    return first, second
