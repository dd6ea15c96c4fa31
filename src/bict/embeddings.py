"""Vectors that never travel without their ids and their space; Parquet, npz and npy in and out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from bict.errors import SettingsError, SpaceError, VectorError
from bict.spaces import Space

SPACE_KEY = b"bict.space"
NORM_TOLERANCE = 1e-2


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
        if len(self.ids) != len(self.vectors):
            raise VectorError(f"{len(self.ids)} ids for {len(self.vectors)} vectors")
        if self.labels is not None:
            object.__setattr__(self, "labels", np.asarray(self.labels).astype(str))
            if len(self.labels) != len(self.ids):
                raise VectorError(f"{len(self.labels)} labels for {len(self.ids)} vectors")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[Any]) -> Embeddings:
        """The rows selected by an index or boolean array, in its order."""
        labels = None if self.labels is None else self.labels[rows]
        return Embeddings(self.ids[rows], self.vectors[rows], self.space, labels)

    def to_arrow(self) -> pa.Table:
        """A table of `id`, `vector` (fixed-size list of float32) and, where known, `label`; its schema holds the space."""
        columns: dict[str, Any] = {"id": pa.array(self.ids), "vector": vectors_to_arrow(self.vectors)}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels)
        return pa.table(columns).replace_schema_metadata({SPACE_KEY: self.space.model_dump_json()})

    @classmethod
    def from_arrow(cls, table: pa.Table, space: Space | None = None) -> Embeddings:
        """Embeddings from a table of `id`, `vector` and optionally `label`.

        Raises:
            VectorError: a column is missing or holds nulls.
            SpaceError: neither the table nor the caller says which space the vectors are of.
        """
        for name in ("id", "vector"):
            if name not in table.column_names:
                raise VectorError(f"no column {name!r}: found {', '.join(table.column_names)}")
        stored = (table.schema.metadata or {}).get(SPACE_KEY)
        labels = table["label"].to_numpy(zero_copy_only=False) if "label" in table.column_names else None
        space = space or _parse_space(stored, "this table")
        return cls(table["id"].to_numpy(zero_copy_only=False), arrow_to_vectors(table["vector"]), space, labels)

    def save(self, path: str | Path) -> Path:
        """Write `.parquet` or `.npz`, by the ending of the path.

        Raises:
            SettingsError: another ending.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(self.to_arrow(), path)
        elif path.suffix == ".npz":
            labels = {} if self.labels is None else {"labels": self.labels}
            arrays = {"ids": self.ids.astype(str) if self.ids.dtype == object else self.ids, "vectors": self.vectors}
            np.savez(path, allow_pickle=False, space=np.array(self.space.model_dump_json()), **arrays, **labels)
        else:
            raise SettingsError(f"cannot write {path.name!r}: name a file that ends in .parquet or .npz")
        return path

    @classmethod
    def load(cls, path: str | Path, space: Space | None = None) -> Embeddings:
        """Read `.parquet`, `.npz`, or `.npy` (vectors alone; ids are then row numbers and the space must be given).

        Raises:
            VectorError: the file is missing, unreadable, or its content is no set of embeddings.
            SpaceError: no space is known for the vectors.
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
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise VectorError(f"{path} holds no readable embeddings: {_first_line(error)}") from error


def check_ids(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids as a one-dimensional array of strings or integers.

    Raises:
        VectorError: another shape or type, or an id that occurs twice.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1:
        raise VectorError(f"ids must be one-dimensional, found shape {ids.shape}")
    if ids.dtype.kind not in "iuUO":
        raise VectorError(f"ids must be strings or integers, found {ids.dtype}")
    if ids.dtype.kind == "O":
        if any(not isinstance(value, str) for value in ids):
            raise VectorError("ids must all be strings or all be integers, without nulls")
        ids = ids.astype(str) if len(ids) else ids.astype("U1")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) != len(ids):
        raise VectorError(
            f"{int((counts > 1).sum())} ids occur more than once, the first is {unique[counts > 1][0]!r}: ids must be unique"
        )
    return ids


def check_vectors(vectors: NDArray[Any], space: Space, ids: NDArray[Any] | None = None) -> NDArray[np.float32]:
    """Vectors as contiguous `(rows, dim)` float32 that can lie in the space.

    Raises:
        VectorError: another shape or dimension; a NaN, infinite or zero row; a row that is not of unit length
            although the space is normalised.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != space.dim:
        raise VectorError(f"expected vectors of shape (rows, {space.dim}) for space {space}, found {vectors.shape}")
    norms = np.linalg.norm(vectors, axis=1)
    problems = {
        "not finite": ~np.isfinite(norms),
        "all zero": norms == 0,
        "not of unit length": space.normalised & (np.abs(norms - 1) > NORM_TOLERANCE),
    }
    for problem, rows in problems.items():
        if rows.any():
            first = int(np.flatnonzero(rows)[0])
            name = f"row {first}" if ids is None else f"id {ids[first]!r}"
            raise VectorError(f"{int(rows.sum())} of {len(vectors)} vectors are {problem}, the first is {name}")
    return vectors


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows `(rows, dim)` scaled to unit length; a zero row stays zero, for the check at the boundary to find."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms == 0, 1, norms), dtype=np.float32)


def vectors_to_arrow(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """`(rows, dim)` float32 as an Arrow fixed-size list column, without a copy."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def arrow_to_vectors(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float32]:
    """An Arrow list column as `(rows, dim)` float32.

    Raises:
        VectorError: nulls, or lists of unequal length.
    """
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
    if flat.null_count or len(flat) % len(chunk):
        raise VectorError("vectors hold nulls or have unequal lengths")
    if not pa.types.is_fixed_size_list(chunk.type) and len(set(np.diff(chunk.offsets.to_numpy()))) > 1:
        raise VectorError("vectors have unequal lengths")
    return flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(len(chunk), -1)


def _parse_space(stored: bytes | str | None, where: str) -> Space:
    if stored is None:
        raise SpaceError(f"{where} does not say which space its vectors are of: pass the space")
    try:
        return Space.model_validate_json(stored)
    except ValidationError as error:
        raise SpaceError(f"{where} holds a space card that cannot be read: {error.errors()[0]['msg']}") from error


def _read_parquet(path: Path, space: Space | None) -> Embeddings:
    return Embeddings.from_arrow(pq.read_table(path), space)


def _read_npz(path: Path, space: Space | None) -> Embeddings:
    with np.load(path, allow_pickle=False) as file:
        stored = str(file["space"]) if "space" in file else None
        labels = file["labels"] if "labels" in file else None
        return Embeddings(file["ids"], file["vectors"], space or _parse_space(stored, path.name), labels)


def _read_npy(path: Path, space: Space | None) -> Embeddings:
    vectors = np.load(path, allow_pickle=False)
    return Embeddings(np.arange(len(vectors)), vectors, space or _parse_space(None, path.name))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
