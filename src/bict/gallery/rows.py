"""Embeddings and payload to table rows, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from bict.embeddings import Embeddings, arrow_to_vectors, vectors_to_arrow
from bict.errors import GalleryError, VectorError
from bict.gallery.metadata import VECTOR_COLUMN
from bict.spaces import Space, require_same

Batch = tuple[Embeddings, pa.Table | None]


def to_rows(embeddings: Embeddings, payload: pa.Table | None, column: str, *, id_column: str = "id") -> pa.Table:
    """A table of ids, payload columns, `label` where the embeddings have labels, and the vectors under a column name.

    Raises:
        GalleryError: the payload has another number of rows, or a column name that the gallery needs itself.
    """
    columns = {id_column: _id_array(embeddings)}
    if payload is not None:
        taken = {id_column, column, *(["label"] if embeddings.labels is not None else [])}
        clash = [name for name in payload.column_names if name in taken or VECTOR_COLUMN.fullmatch(name)]
        if clash:
            raise GalleryError(f"payload column {clash[0]!r} has a name the gallery needs itself: rename it")
        if len(payload) != len(embeddings):
            raise GalleryError(f"{len(payload)} payload rows for {len(embeddings)} vectors: give one per vector")
        columns |= {name: payload[name] for name in payload.column_names}
    if embeddings.labels is not None:
        columns["label"] = pa.array(embeddings.labels, pa.string())
    return pa.table({**columns, column: vectors_to_arrow(embeddings.vectors)})


def to_embeddings(
    batch: pa.RecordBatch | pa.Table, column: str, space: Space, *, labels: bool = False, id_column: str = "id"
) -> Embeddings:
    """Embeddings from rows that hold ids, a vector column and, where wanted, `label`.

    Raises:
        GalleryError: labels are wanted and some are null.
        VectorError: the vectors are null or cannot lie in the space.
    """
    ids = batch[id_column].to_numpy(zero_copy_only=False)
    names = None
    if labels:
        if batch["label"].null_count:
            missing = batch["label"].null_count
            raise GalleryError(f"{missing} rows have no label: read the vectors with with_labels=False")
        names = batch["label"].to_numpy(zero_copy_only=False)
    return Embeddings(ids, arrow_to_vectors(batch[column]), space, names)


def as_batches(embeddings: Embeddings | Iterable[Batch], payload: pa.Table | None) -> Iterator[Batch]:
    """One set of embeddings, or a stream of them with their payload, as a stream.

    Raises:
        SpaceError: a batch lies in another space than the first.
    """
    stream = [(embeddings, payload)] if isinstance(embeddings, Embeddings) else embeddings
    first: Space | None = None
    for batch, beside in stream:
        first = first or batch.space
        require_same(batch.space, first, "a batch for a gallery")
        yield batch, beside


def refuse_repeated(ids: pa.ChunkedArray) -> None:
    """Refuse ids that occur more than once.

    Raises:
        VectorError: naming the first of them.
    """
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    raise VectorError(
        f"{len(repeated)} ids occur more than once, the first is {repeated[0].as_py()!r}: ids must be unique"
    )


def fit_to_schema(table: pa.Table, schema: pa.Schema, *, id_column: str = "id") -> pa.Table:
    """The table with its columns in the order and of the types of a schema.

    Raises:
        GalleryError: other columns, or values that do not fit the types.
    """
    if set(table.column_names) != set(schema.names):
        raise GalleryError(f"found columns {table.column_names} to add, expected {schema.names}: give the same payload")
    found, expected = (some.field(id_column).type for some in (table.schema, schema))
    alike = (pa.types.is_integer, lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if not any(test(found) and test(expected) for test in alike):
        raise GalleryError(f"found ids of type {found}, expected {expected}")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise GalleryError(f"a column to add has another type than in the gallery: {error}") from error


def _id_array(embeddings: Embeddings) -> pa.Array:
    if embeddings.ids.dtype.kind == "U":
        return pa.array(embeddings.ids, pa.string())
    try:
        return pa.array(embeddings.ids).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise VectorError(f"integer ids must fit into 64 signed bits: {error}") from error
