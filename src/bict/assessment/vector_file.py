"""One file of vectors of any size: ids, labels and split in memory, vectors read for the rows that are wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.assessment.names import count_empty, ids_of, names_of, taken
from bict.assessment.space_card import check_space, find_space, make_space
from bict.assessment.vector_source import BLOCK, SOURCES, Blocks, Source
from bict.embeddings import Embeddings, as_float32
from bict.errors import BictError, SettingsError, UnknownName, VectorError
from bict.spaces import Space

SAMPLE, RUNS = 1000, 8
"""Rows that stand for a file in its space card, in evenly spaced runs: few row groups are read for them."""


@dataclass(frozen=True, eq=False)
class VectorFile:
    """A file of vectors that has been looked at, not loaded.

    Attributes:
        path: where it is.
        ids: `(rows,)` strings or integers, unique; the row numbers of an `.npy`. They and the names are columns of
            Arrow; `names.taken` gives those of some rows.
        labels: `(rows,)` class names, or None.
        split: `(rows,)` names of parts, "" where a row is in none, or None.
        dim: numbers in a vector.
        space: the card it carries, the one beside it, or one made of its content.
        declared: whether its space was not made of its content.
    """

    path: Path
    ids: pa.Array
    labels: pa.DictionaryArray | None
    split: pa.DictionaryArray | None
    dim: int
    space: Space
    _blocks: Blocks = field(repr=False)
    declared: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors `(len(rows), dim)` of the rows, in their order; a null is read as NaN.

        Besides the result it holds one block of rows in memory: of a compressed Arrow file a record batch, of an
        `.npz` the whole array.

        Raises:
            VectorError: a vector of another length, or a file that cannot be read or has changed.
        """
        try:
            return _take(self.ids, self.dim, self._blocks, rows)
        except VectorError as error:
            raise VectorError(f"{self.path}: {error}") from error
        except Exception as error:  # a damaged file fails in as many ways as Arrow, zip, zlib and npy have parts
            raise VectorError(f"{self.path} holds no readable vectors: {_first_line(error)}") from error


def open_vector_file(
    path: str | Path,
    *,
    id_column: str = "id",
    vector_column: str = "vector",
    label_column: str = "label",
    split_column: str = "split",
    name: str | None = None,
    fingerprint: str | None = None,
    metric: Literal["cosine", "dot", "l2"] = "cosine",
) -> VectorFile:
    """Look at a `.parquet`, Arrow IPC (`.arrow`, `.feather`), `.npz` or `.npy` file.

    Args:
        path: the file; an `.npz` holds arrays `ids`, `vectors`, and where known `labels`, `split` and `space`.
        id_column: the column of the ids.
        vector_column: the column of the vectors: lists of equal length, or in an `.npz` an array `(rows, dim)`.
        label_column: the column of the class names; one called "label" may be absent.
        split_column: the column of the parts; one called "split" may be absent.
        name: of the model that made the vectors (default: as its space card says, else the stem of the path).
        fingerprint: of its space (default: as the card says, else one of the file's content).
        metric: of its space, where there is no card.

    Raises:
        SettingsError: another ending, or a name, fingerprint or metric that cannot be used.
        UnknownName: a column is missing.
        VectorError: the file is missing, unreadable or empty, or its ids, labels or vectors cannot be used.
        SpaceError: its space card cannot be read, or disagrees with the vectors or with what was given.
    """
    path = Path(path)
    wanted = {"id": id_column, "vector": vector_column, "label": label_column, "split": split_column}
    given = {key: value for key, value in {"name": name, "fingerprint": fingerprint}.items() if value is not None}
    if path.suffix not in SOURCES:
        raise SettingsError(f"cannot read {path}: expected {', '.join(SOURCES)}")
    if not path.is_file():
        raise VectorError(f"no file {path}")
    try:
        return _open(path, SOURCES[path.suffix](path), wanted, given, metric)
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from error
    except BictError:
        raise
    except Exception as error:  # as in VectorFile.read
        raise VectorError(f"{path} holds no readable vectors: {_first_line(error)}") from error


def in_memory(embeddings: Embeddings, name: str) -> VectorFile:
    """Embeddings as if they had been read from a file of that name."""
    given = embeddings.vectors
    return VectorFile(
        Path(name),
        ids_of(embeddings.ids),
        None if embeddings.labels is None else names_of(embeddings.labels),
        None,
        given.shape[1],
        embeddings.space,
        lambda _rows: iter([(0, given)]),
    )


def _open(path: Path, source: Source, wanted: dict[str, str], given: dict[str, str], metric: str) -> VectorFile:
    names = {role: _present(path, source, role, column) for role, column in wanted.items()}
    ids = ids_of(source.column(names["id"], False))
    if not len(ids):
        raise VectorError("no rows: nothing to read")
    labels = _names(source, names["label"], len(ids), nulls=False)
    split = _names(source, names["split"], len(ids), nulls=True)
    dim = source.width(names["vector"], len(ids))
    blocks = partial(source.blocks, names["vector"])
    space = found = find_space(path, source.card)
    if space is None:
        rows = _sample(len(ids))
        vectors = _take(ids, dim, blocks, rows)
        space = make_space(path, len(ids), taken(ids, rows), vectors, {**given, "metric": metric})
    check_space(path, space, dim, given)
    return VectorFile(path, ids, labels, split, dim, space, blocks, declared=found is not None)


def _sample(rows: int) -> NDArray[np.int64]:
    """All row numbers, or of more than `SAMPLE` those of runs from the first row to the last."""
    if rows <= SAMPLE:
        return np.arange(rows)
    length = SAMPLE // RUNS
    starts = np.arange(RUNS) * (rows - length) // (RUNS - 1)
    return np.add.outer(starts, np.arange(length)).ravel()


def _present(path: Path, source: Source, role: str, column: str) -> str:
    """What the column is called in the file, "" where an optional one is absent."""
    named = source.own.get(role, role) if column == role else column
    found = source.columns.count(named)
    if found > 1:
        raise VectorError(f"{found} columns are called {named!r}, expected one: rename the others")
    if not found and (role not in ("label", "split") or column != role):
        raise UnknownName(f"column of {path}", named, source.columns)
    return named if found else ""


def _names(source: Source, column: str, rows: int, *, nulls: bool) -> pa.DictionaryArray | None:
    if not column:
        return None
    values = source.column(column, nulls)
    shape = values.shape if isinstance(values, np.ndarray) else (len(values),)
    if shape != (rows,):
        raise VectorError(f"{column!r} has shape {shape}, expected one value for each of {rows} rows")
    names = names_of(values)
    empty = 0 if nulls else count_empty(names)
    if empty:
        raise VectorError(f"{empty} of {rows} values of column {column!r} are empty: fill them in")
    return names


def _take(ids: pa.Array, dim: int, blocks: Blocks, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Vectors `(len(rows), dim)` of the rows, whatever their order."""
    order = np.argsort(rows, kind="stable")
    ordered = np.asarray(rows, np.int64)[order]
    found = np.empty((len(rows), dim), np.float32)
    done = 0
    for start, block in blocks(ordered):
        for first in range(0, len(block), BLOCK):
            part = block[first : first + BLOCK]
            begin = start + first
            low, high = np.searchsorted(ordered, [begin, begin + len(part)])
            if low < high:
                wanted = ordered[low:high] - begin
                found[order[low:high]] = _vectors(part, wanted, dim, ids[begin : begin + len(part)])
                done += int(high - low)
    if done < len(rows):
        raise VectorError(f"{len(rows) - done} rows are gone since it was opened: leave the file alone meanwhile")
    return found


def _vectors(part: pa.Array | NDArray[Any], rows: NDArray[np.int64], dim: int, ids: pa.Array) -> NDArray[np.float32]:
    """Rows of a part of a block; every list of the part must be of the length, whichever are wanted."""
    if isinstance(part, np.ndarray):
        return as_float32(part[rows])
    lengths = pc.fill_null(pc.list_value_length(part), dim).to_numpy(zero_copy_only=False)
    if (lengths != dim).any():
        first = int(np.argmax(lengths != dim))
        raise VectorError(f"the vector of id {ids[first]} has {lengths[first]} numbers, expected {dim} as of the first")
    if part.null_count:
        there = part.is_valid().to_numpy(zero_copy_only=False)
        rows, at = (np.cumsum(there) - 1)[rows], there[rows]
        found = np.full((len(rows), dim), np.nan, np.float32)
        found[at] = _numbers(part, dim)[rows[at]]
        return found
    return as_float32(_numbers(part, dim)[rows])


def _numbers(part: pa.Array, dim: int) -> NDArray[Any]:
    return np.asarray(part.flatten().to_numpy(zero_copy_only=False)).reshape(-1, dim)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
