"""A table that bict did not create becomes a gallery: checked, described, not rewritten."""

from __future__ import annotations

import pyarrow as pa

from bict.embeddings import check_vectors
from bict.errors import GalleryError, SpaceError, UnknownName, VectorError
from bict.gallery.gallery import Gallery
from bict.gallery.metadata import first_generation
from bict.gallery.rows import refuse_repeated
from bict.gallery.stores import Store, open_store
from bict.gallery.stores.base import present_vectors
from bict.progress import Progress, silent
from bict.spaces import Space


def adopt(address: str, *, id_column: str, vector_column: str, space: Space, progress: Progress = silent) -> Gallery:
    """Check every id and vector of a table, and record it as a gallery with one metadata write.

    Args:
        address: of the table.
        id_column: its unique ids.
        vector_column: its vectors `(rows, dim)`.
        space: what they lie in.
        progress: called with rows checked and rows in all.

    Raises:
        GalleryError: there is no table, no row, or it is a gallery already.
        UnknownName: it has no such column.
        SpaceError: the vectors have another dimension than the space.
        VectorError: ids repeat or are null, or vectors are null, not finite, zero, or not of unit length as the space
            says.
    """
    store = open_store(address)
    address = store.address  # as shown: without a password
    if store.read_metadata() is not None:
        raise GalleryError(f"{address} is a gallery already: see bict gallery info")
    schema = store.schema()
    for name in (id_column, vector_column):
        if name not in schema.names:
            raise UnknownName(f"column of {address}", name, schema.names)
    store.id_column = id_column
    _check_types(address, schema, id_column, vector_column, space)
    _check_rows(store, id_column, vector_column, space, progress)
    store.read_metadata()
    store.write_metadata(first_generation(space, stored_as=vector_column, id_column=id_column).model_dump_json())
    return Gallery(store)


def _check_types(address: str, schema: pa.Schema, id_column: str, vector_column: str, space: Space) -> None:
    kind = schema.field(id_column).type
    if not any(test(kind) for test in (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)):
        raise VectorError(f"column {id_column!r} of {address} is of type {kind}, expected text or integer ids")
    vectors = schema.field(vector_column).type
    if not pa.types.is_fixed_size_list(vectors) or not pa.types.is_floating(vectors.value_type):
        raise VectorError(f"column {vector_column!r} of {address} is of type {vectors}, expected vectors of one length")
    if vectors.list_size != space.dim:
        raise SpaceError(
            f"column {vector_column!r} of {address} has {vectors.list_size} dimensions, space {space} has {space.dim}: "
            "name the space of the model that wrote it"
        )


def _check_rows(store: Store, id_column: str, vector_column: str, space: Space, progress: Progress) -> None:
    ids, done, total = [], 0, store.count()
    if not total:
        raise GalleryError(f"{store.address} holds no rows: nothing to adopt")
    absent = store.count_missing([], [vector_column])
    if absent:
        raise VectorError(
            f"{absent} of {total} rows of {store.address} have no vector in {vector_column!r}: "
            "embed or delete them first"
        )
    for batch in store.scan([id_column, vector_column]):
        if batch[id_column].null_count:
            raise VectorError(f"column {id_column!r} of {store.address} holds nulls: every row needs an id")
        vectors, _ = present_vectors(batch[vector_column])
        check_vectors(vectors, space, batch[id_column].to_numpy(zero_copy_only=False))
        ids.append(batch[id_column])
        done += len(batch)
        progress(done, total)
    refuse_repeated(pa.chunked_array(ids))
