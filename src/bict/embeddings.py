"""Vectors that never travel without their ids and their space; Parquet, npz and npy in and out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from bict.arrays import read_arrays
from bict.errors import RunError, SettingsError, SpaceError, VectorError
from bict.spaces import Space, require_same

SPACE_KEY = b"bict.space"
NORM_TOLERANCE = 1e-2
PLAIN = (1e-30, 1e30)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors with their ids, optional labels, and the space they lie in; checked once, here.

    Attributes:
        ids: `(rows,)` strings or integers, unique.
        vectors: `(rows, dim)` float32, finite, no zero row, unit length where the space is normalised.
        space: the space of every row.
        labels: `(rows,)` class names, or None.

    Raises:
        VectorError: wrong shapes, repeated ids, or rows that are NaN, infinite, zero or of the wrong length.
    """

    ids: NDArray[Any]
    vectors: NDArray[np.float32]
    space: Space
    labels: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", check_ids(self.ids))
        object.__setattr__(self, "vectors", check_vectors(self.vectors, self.space, self.ids))
        if self.labels is not None:
            object.__setattr__(self, "labels", _check_labels(self.labels, len(self.ids)))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[Any]) -> Embeddings:
        """The rows selected by an index or boolean array, in its order."""
        labels = None if self.labels is None else self.labels[rows]
        return Embeddings(self.ids[rows], self.vectors[rows], self.space, labels)

    def to_arrow(self) -> pa.Table:
        """A table of `id`, `vector` (fixed-size list of float32) and, where known, `label`; it carries the space."""
        columns: dict[str, Any] = {"id": pa.array(self.ids), "vector": vectors_to_arrow(self.vectors)}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels)
        return pa.table(columns).replace_schema_metadata({SPACE_KEY: self.space.model_dump_json()})

    @classmethod
    def from_arrow(cls, table: pa.Table, space: Space | None = None) -> Embeddings:
        """Embeddings from a table of `id`, `vector` and optionally `label`.

        Raises:
            VectorError: a column is missing or holds nulls.
            SpaceError: the table and the caller disagree about the space of the vectors, or neither names it.
        """
        names = [name for name in ("id", "vector", "label") if name in table.column_names]
        if names[:2] != ["id", "vector"]:
            raise VectorError(f"expected columns 'id' and 'vector', found {', '.join(table.column_names) or 'none'}")
        for name in names:
            if table[name].null_count:
                raise VectorError(f"{table[name].null_count} of {len(table)} values of column {name!r} are null")
        space = _which_space((table.schema.metadata or {}).get(SPACE_KEY), space)
        labels = table["label"].to_numpy(zero_copy_only=False) if "label" in names else None
        return cls(table["id"].to_numpy(zero_copy_only=False), arrow_to_vectors(table["vector"]), space, labels)

    def save(self, path: str | Path) -> Path:
        """Write `.parquet` or `.npz`, by the ending of the path, by renaming a finished file.

        Raises:
            SettingsError: another ending.
            RunError: the file cannot be written.
        """
        path = Path(path)
        writers = {".parquet": _write_parquet, ".npz": _write_npz}
        if path.suffix not in writers:
            raise SettingsError(f"cannot write {path.name!r}: name a file that ends in .parquet or .npz")
        temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            writers[path.suffix](self, temporary)
            temporary.replace(path)
        except OSError as error:
            raise RunError(f"{path} cannot be written ({_first_line(error)}): choose another place") from error
        return path

    @classmethod
    def load(cls, path: str | Path, space: Space | None = None) -> Embeddings:
        """Read `.parquet`, `.npz`, or `.npy` (vectors alone; ids are then row numbers and the space must be given).

        Raises:
            VectorError: the file is missing, unreadable, or its content is no set of embeddings.
            SpaceError: the file and the caller disagree about the space of the vectors, or neither names it.
            SettingsError: another ending.
        """
        path = Path(path)
        readers = {".parquet": _read_parquet, ".npz": _read_npz, ".npy": _read_npy}
        if path.suffix not in readers:
            raise SettingsError(f"cannot read {path.name!r}: expected .parquet, .npz or .npy")
        if not path.is_file():
            raise VectorError(f"no file {path}")
        try:
            return readers[path.suffix](path, space)
        except (VectorError, SpaceError) as error:
            raise type(error)(f"{path}: {error}") from error
        except (pa.ArrowException, OSError, ValueError, EOFError) as error:
            raise VectorError(f"{path} holds no readable embeddings: {_first_line(error)}") from error


def check_ids(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids as a one-dimensional array of strings or integers.

    Raises:
        VectorError: another shape or type, or an id that occurs twice.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1:
        raise VectorError(f"ids must be one-dimensional, found shape {ids.shape}")
    if ids.dtype.kind in "OT":
        ids = _plain_ids(ids.tolist())
    if ids.dtype.kind not in "iuU":
        raise VectorError(f"ids must be strings or integers, found {ids.dtype}")
    unique, counts = np.unique(ids, return_counts=True)
    repeated = unique[counts > 1]
    if len(repeated):
        raise VectorError(f"{len(repeated)} ids occur more than once, the first is {repeated[0]}: ids must be unique")
    return ids


def check_vectors(vectors: NDArray[Any], space: Space, ids: NDArray[Any] | None = None) -> NDArray[np.float32]:
    """Vectors as contiguous `(rows, dim)` float32 that can lie in the space.

    Raises:
        VectorError: another shape or dimension; a NaN, infinite or zero row; a row that is not of unit length
            although the space is normalised.
    """
    vectors = as_float32(vectors)
    if vectors.ndim != 2 or vectors.shape[1] != space.dim:
        raise VectorError(f"expected vectors of shape (rows, {space.dim}) for space {space}, found {vectors.shape}")
    if ids is not None and len(ids) != len(vectors):
        raise VectorError(f"{len(ids)} ids for {len(vectors)} vectors")
    lengths = norms(vectors)
    problems = {
        "not finite": ~np.isfinite(lengths),
        "all zero": lengths == 0,
        "not of unit length": space.normalised & (np.abs(lengths - 1) > NORM_TOLERANCE),
    }
    for problem, rows in problems.items():
        if rows.any():
            first = int(np.flatnonzero(rows)[0])
            name = f"row {first}" if ids is None else f"id {ids[first]}"
            raise VectorError(f"{int(rows.sum())} of {len(vectors)} vectors are {problem}, the first is {name}")
    return vectors


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows `(rows, dim)` scaled to unit length; a zero row stays zero, for the check at the boundary to find."""
    return divided(vectors, norms(vectors))


def divided(vectors: NDArray[np.float32], lengths: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows `(rows, dim)` divided by their lengths `(rows,)`; a zero row stays zero."""
    lengths = np.where(lengths == 0, 1, lengths)[:, None]
    plain = bool(((lengths > PLAIN[0]) & (lengths < PLAIN[1])).all())  # then float32 holds them well, and is faster
    return np.asarray(vectors / (lengths.astype(np.float32) if plain else lengths), dtype=np.float32)


def vectors_to_arrow(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """`(rows, dim)` float32 as an Arrow fixed-size list column, without a copy."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def arrow_to_vectors(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float32]:
    """An Arrow list column as `(rows, dim)` float32.

    Raises:
        VectorError: nulls, lists of unequal length, or no lists of numbers at all.
    """
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    numbers = (pa.types.is_floating, pa.types.is_integer)
    if not any(test(column.type) for test in lists) or not any(test(column.type.value_type) for test in numbers):
        raise VectorError(f"vectors must be lists of numbers, found {column.type}")
    if column.null_count:
        raise VectorError(f"{column.null_count} of {len(column)} vectors are null")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_chunk_to_vectors(chunk) for chunk in chunks if len(chunk)]
    if not parts:
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 0
        return np.zeros((0, width), np.float32)
    if len({part.shape[1] for part in parts}) > 1:
        raise VectorError("vectors have unequal lengths")
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _chunk_to_vectors(chunk: pa.Array) -> NDArray[np.float32]:
    flat = chunk.flatten()
    if flat.null_count:
        raise VectorError(f"vectors hold {flat.null_count} null values")
    if not pa.types.is_fixed_size_list(chunk.type) and len(set(np.diff(chunk.offsets.to_numpy()))) > 1:
        raise VectorError("vectors have unequal lengths")
    return as_float32(flat.to_numpy(zero_copy_only=False)).reshape(len(chunk), len(flat) // len(chunk))


def as_float32(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Contiguous float32; what is too large for it becomes infinite, for the check at the boundary to find.

    Raises:
        VectorError: something else than numbers.
    """
    vectors = np.asarray(vectors)
    if vectors.dtype.kind not in "fiu":
        raise VectorError(f"vectors must be numbers, found {vectors.dtype}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(vectors, dtype=np.float32)


def norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Lengths `(rows,)`, summed in float64: squares of small or large float32 numbers leave its range."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)


def _plain_ids(values: list[Any]) -> NDArray[Any]:
    if all(isinstance(value, str) for value in values):
        return np.array(values, dtype=str)
    if all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values):
        return np.array(values)
    raise VectorError("ids must all be strings or all be integers, without nulls")


def _check_labels(labels: NDArray[Any], rows: int) -> NDArray[Any]:
    labels = np.asarray(labels)
    if labels.shape != (rows,):
        raise VectorError(f"labels of shape {labels.shape} for {rows} vectors")
    if labels.dtype.kind == "O" and any(label is None for label in labels):
        raise VectorError(f"{sum(label is None for label in labels)} of {rows} labels are null")
    return labels.astype(str)


def _which_space(stored: bytes | str | None, given: Space | None) -> Space:
    if stored is None:
        if given is None:
            raise SpaceError("nothing says which space these vectors are of: pass the space")
        return given
    try:
        found = Space.model_validate_json(stored)
    except ValidationError as error:
        raise SpaceError(f"the space card cannot be read: {error.errors()[0]['msg']}") from error
    if given is not None:
        require_same(found, given, "stored vectors")
    return given or found


def _write_parquet(embeddings: Embeddings, path: Path) -> None:
    pq.write_table(embeddings.to_arrow(), path)


def _write_npz(embeddings: Embeddings, path: Path) -> None:
    arrays = {
        "ids": embeddings.ids,
        "vectors": embeddings.vectors,
        "space": np.array(embeddings.space.model_dump_json()),
    }
    if embeddings.labels is not None:
        arrays["labels"] = embeddings.labels
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read_parquet(path: Path, space: Space | None) -> Embeddings:
    return Embeddings.from_arrow(pq.read_table(path, partitioning=None), space)


def _read_npz(path: Path, space: Space | None) -> Embeddings:
    arrays = read_arrays(path)
    if not {"ids", "vectors"} <= set(arrays):
        raise VectorError(f"expected arrays 'ids' and 'vectors', found {', '.join(arrays) or 'none'}")
    stored = str(arrays["space"]) if "space" in arrays else None
    return Embeddings(arrays["ids"], arrays["vectors"], _which_space(stored, space), arrays.get("labels"))


def _read_npy(path: Path, space: Space | None) -> Embeddings:
    vectors = np.lib.format.open_memmap(path, mode="r")
    ids = np.arange(len(vectors) if vectors.ndim else 0)
    return Embeddings(ids, np.array(vectors), _which_space(None, space))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
