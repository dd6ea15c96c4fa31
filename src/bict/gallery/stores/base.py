"""What a place that keeps a gallery must be able to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.embeddings import arrow_to_vectors
from bict.errors import VectorError
from bict.gallery.metadata import VECTOR_COLUMN

BATCH_ROWS = 8192


@dataclass(frozen=True)
class Unit:
    """A part of a gallery that is staged as a whole; its key changes when its rows do."""

    key: str
    rows: int


class Hits(NamedTuple):
    """The nearest rows of each query, best first, ties in scan order: ids and scores, both `(queries, k)`."""

    ids: NDArray[Any]
    scores: NDArray[np.float32]


class Store(Protocol):
    """Rows of `id`, payload and one fixed-size-list float32 column per generation, beside one metadata document.

    A store moves bytes: what a column means, which one is searched and when it may change is the gallery's business.
    Every refusal is a GalleryError.
    """

    address: str
    work_dir: Path
    """A local folder where ledgers of staged work may be kept."""

    @classmethod
    def create(cls, address: str, tables: Iterable[pa.Table], metadata: str, *, unit_rows: int) -> Self:
        """Write tables of one schema as a new gallery, visible only when complete; refuses an address in use."""
        ...

    @classmethod
    def open(cls, address: str) -> Self:
        """An existing gallery; refuses an address that holds none."""
        ...

    def read_metadata(self) -> str | None:
        """The newest metadata document."""
        ...

    def write_metadata(self, text: str) -> None:
        """Replace the metadata document in one atomic step; refuses when it changed since this store read it."""
        ...

    def schema(self) -> pa.Schema:
        """The newest schema."""
        ...

    def count(self) -> int:
        """How many rows there are."""
        ...

    def append(self, table: pa.Table) -> None:
        """Add rows in one atomic step; vector columns absent from the table become null."""
        ...

    def scan(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows, in an order that stays the same until rows are added."""
        ...

    def fetch(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        """`id` and the named columns of the rows with these ids, in scan order."""
        ...

    def search(self, column: str, queries: NDArray[np.float32], k: int, metric: str) -> Hits:
        """The exact k best rows for each of `(queries, dim)`; fewer where there are fewer rows."""
        ...

    def units(self) -> list[Unit]:
        """The gallery in parts, in scan order."""
        ...

    def read_unit(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of one unit, in scan order."""
        ...

    def begin_stage(self, column: str, dim: int) -> None:
        """Make room for a vector column of this width; the same call twice is the same as once."""
        ...

    def stage_unit(self, unit: Unit, column: str, vectors: Iterable[NDArray[np.float32]]) -> str:
        """Write the new vectors of one unit, in the order `read_unit` gives, durably but not yet visible.

        Returns a receipt that `commit_staged` takes, also in another process.
        """
        ...

    def commit_staged(self, column: str, receipts: Mapping[str, str]) -> None:
        """Make the staged vectors of all units (key to receipt) visible in one atomic step."""
        ...

    def drop_column(self, column: str) -> None:
        """Remove a vector column; nothing where there is none."""
        ...


def check_vector_columns(table: pa.Table) -> pa.Table:
    """The table itself, when its vector columns hold finite float32 lists without nulls.

    Raises:
        VectorError: they do not.
    """
    for name in table.column_names:
        if VECTOR_COLUMN.fullmatch(name):
            check_finite(arrow_to_vectors(table[name]), name)
    return table


def check_finite(vectors: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """The vectors `(rows, dim)` themselves, when all are finite.

    Raises:
        VectorError: a value is NaN or infinite.
    """
    wrong = ~np.isfinite(vectors).all(axis=1)
    if wrong.any():
        raise VectorError(f"{what}: {int(wrong.sum())} of {len(vectors)} vectors are not finite, nothing was written")
    return vectors
