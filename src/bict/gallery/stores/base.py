"""What a place that keeps a gallery must be able to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.embeddings import arrow_to_vectors
from bict.errors import GalleryError, VectorError
from bict.gallery.ledger import Entry, Ledger
from bict.gallery.metadata import VECTOR_COLUMN
from bict.progress import Progress, silent

BATCH_ROWS = 8192


@dataclass(frozen=True)
class Unit:
    """A part of a gallery that is staged as a whole; its key changes when its rows are rewritten."""

    key: str
    rows: int

    def __str__(self) -> str:
        return f"unit {self.key} ({self.rows} rows)"


class Hits(NamedTuple):
    """The nearest rows of each query, best first, ties in scan order: ids and scores, both `(queries, k)`."""

    ids: NDArray[Any]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Reach:
    """What an upgrade of this store opens besides the transform: local paths, and servers as (host, port)."""

    paths: tuple[Path, ...] = ()
    servers: tuple[tuple[str, int], ...] = ()


class Store(Protocol):
    """Rows of an id column, payload and one nullable float32 vector column per generation, beside one document.

    A store moves bytes: what a column means, which one is searched and when it may change is the gallery's business.
    Every refusal is a GalleryError of one line; no message holds a password.
    """

    address: str
    """As shown to people: without a password."""
    units_at_once: int
    """How many units one process may read and stage side by side; 1 where they share a connection."""
    id_column: str
    """Name of the id column, "id" until the gallery says otherwise."""

    @property
    def place(self) -> str | None:
        """What `open` takes in another process, perhaps with a password; None where only one process is admitted."""
        ...

    @classmethod
    def create(cls, address: str, tables: Iterable[pa.Table], metadata: str, *, unit_rows: int) -> Self:
        """Write tables of one schema as a new gallery, visible only when complete; refuses an address in use."""
        ...

    @classmethod
    def open(cls, address: str) -> Self:
        """An existing table, a gallery or not; refuses an address that holds none."""
        ...

    def reach(self) -> Reach:
        """What work on this store opens."""
        ...

    def read_metadata(self) -> str | None:
        """The newest metadata document, None where nobody has made a gallery of the table."""
        ...

    def write_metadata(self, text: str) -> None:
        """Replace the metadata document in one atomic step; refuses when it changed since this store read it."""
        ...

    def publish(self, text: str, column: str, sources: Sequence[str]) -> None:
        """`write_metadata`, refused when a row that has a vector in one of `sources` has none of its own in `column`.

        "Of its own": staged since the source vector was last written. Nothing slips in between check and write.
        """
        ...

    def schema(self) -> pa.Schema:
        """The newest schema; a vector column is a fixed-size list of float32."""
        ...

    def count(self) -> int:
        """How many rows there are."""
        ...

    def count_missing(self, present: Sequence[str], absent: Sequence[str]) -> int:
        """How many rows have a vector in one of `present` (or `present` is empty) and in none of `absent`."""
        ...

    def append(self, table: pa.Table) -> None:
        """Add rows of new ids in one atomic step; vector columns absent from the table become null."""
        ...

    def replace(self, table: pa.Table) -> None:
        """Put rows in the place of those with the same ids, in one atomic step; absent vector columns become null."""
        ...

    def delete(self, ids: pa.Array) -> int:
        """Remove rows from every column and, where the store can, their bytes from its files; how many there were."""
        ...

    def scan(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows, in an order that stays the same until rows are added or changed; null where there is no vector."""
        ...

    def fetch(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The id column and the named columns of the rows with these ids, in scan order."""
        ...

    def search(self, column: str, queries: NDArray[np.float32], k: int, metric: str, *, exact: bool = True) -> Hits:
        """The k best rows for each of `(queries, dim)`; fewer where there are fewer rows that have a vector.

        Scores are larger for nearer rows: cosine, dot product, or minus the squared distance. With `exact` off an
        index is used where the column has one.
        """
        ...

    def begin_stage(self, column: str, dim: int, metric: str) -> None:
        """Make room for a vector column of this width; the same call twice is the same as once.

        Nothing is ever removed for it: a column of this name that is there with another type is refused.
        """
        ...

    def units(self, column: str) -> list[Unit]:
        """The gallery in the parts in which this column is staged, in scan order."""
        ...

    def pending(
        self, column: str, sources: Sequence[str], entries: Mapping[str, Entry], *, only_missing: bool
    ) -> list[Unit]:
        """The units with a row whose vector in `column` is not staged from its present vector in one of `sources`.

        With `only_missing` a row that has any vector in `column` counts as done: in a live column, rows hold what a
        model wrote there.
        """
        ...

    def read_unit(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of one unit, in scan order."""
        ...

    def stage_unit(self, unit: Unit, column: str, vectors: Iterable[pa.FixedSizeListArray]) -> str:
        """Write the vectors of one unit (null: none), in the order `read_unit` gives, durably.

        Returns a receipt that `commit_staged` takes, also in another process.
        """
        ...

    def commit_staged(self, column: str, entries: Mapping[str, Entry]) -> None:
        """Make what the ledger lists readable in the column; entries of units that are gone are left out."""
        ...

    def ledger(self, column: str) -> Ledger:
        """What has been staged of a column; readable from other processes, and kept until `drop_column`."""
        ...

    def drop_column(self, column: str, kept: Sequence[str] | None = None) -> None:
        """Remove a vector column, its index and its ledger; nothing where there is none.

        Where `kept` is given, it is refused while a row that has a vector in the column has none in these, with their
        number; no row slips in between.
        """
        ...

    def build_index(self, column: str, metric: str, progress: Progress = silent) -> str:
        """Build the approximate-nearest-neighbour index of a column, in place of an older one; says what it is.

        `progress` is called, from whatever thread, with how much is done and how much there is to do, in parts of the
        store's own choice; at the end all is done.
        """
        ...

    def index_work(self, rows: int) -> float:
        """How the time of `build_index` grows with the rows, in units of the store's own choice."""
        ...

    def reclaim(self) -> list[str]:
        """Free the disk that dropped columns and deleted rows still take; says where copies may remain."""
        ...

    def advice(self) -> list[str]:
        """What an operator should know about the place before anything is staged there."""
        ...

    def bytes_needed(self, dim: int) -> tuple[int, int | None]:
        """Bytes that a further column of this width takes, and bytes free where it would lie, None if not known."""
        ...

    def spare(self) -> str:
        """An address beside this one where nothing is, for a trial; refused where the place admits one gallery only."""
        ...

    def destroy(self) -> None:
        """Remove the table, all rows and all notes; meant for what was created at a `spare` address."""
        ...

    def locked(self, owner: str) -> AbstractContextManager[None]:
        """Hold the gallery for one upgrade at a time; refused with the holder's name, unless its process is dead."""
        ...


def graph_work(rows: int) -> float:
    """Steps to build a graph: each row walks through those before it, along the logarithm of their number."""
    return rows * math.log(max(rows, 2))


def check_vector_columns(table: pa.Table) -> pa.Table:
    """The table itself, when its vector columns hold finite float32 lists without nulls.

    Raises:
        VectorError: they do not.
    """
    for name in table.column_names:
        if VECTOR_COLUMN.fullmatch(name) and pa.types.is_fixed_size_list(table.schema.field(name).type):
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


def present_vectors(column: pa.Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The vectors that are there, `(present, dim)`, and which rows have one, `(rows,)`."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return arrow_to_vectors(pc.drop_null(column) if column.null_count else column), valid


def require_same_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A batch itself, when its columns are those of the first batch.

    Raises:
        GalleryError: they are not.
    """
    if table.schema != schema:
        raise GalleryError(f"a batch has columns {_fields(table.schema)}, the first had {_fields(schema)}")
    return table


def require_staged(store: Store, column: str, sources: Sequence[str]) -> None:
    """Refuse while rows are not staged from the vectors they have now.

    Raises:
        GalleryError: with their number.
    """
    pending = store.pending(column, sources, store.ledger(column).entries(), only_missing=False)
    if pending:
        rows = sum(unit.rows for unit in pending)
        raise GalleryError(
            f"up to {rows} rows of {store.address} were added or changed since {column!r} was staged: run again, "
            "then verify and switch"
        )


def only_vectors(address: str, column: str, rows: int) -> GalleryError:
    """The refusal to drop a column that holds the only vector of some rows."""
    return GalleryError(
        f"{rows} rows of {address} have a vector only in {column!r}: switch to it, or upgrade them (bict upgrade run), "
        "or delete them first"
    )


def source_bytes(batch: pa.RecordBatch, sources: Sequence[str]) -> bytes:
    """The bytes of the vectors that a batch is staged from: column after column, each row once."""
    taken, parts = np.zeros(len(batch), bool), []
    for name in sources:
        vectors, there = present_vectors(batch[name])
        parts.append(vectors[~taken[there]].tobytes())
        taken |= there
    return b"".join(parts)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its name."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _fields(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
