"""A gallery: stored vectors that know their space, ids and payload, and answer queries of comparable spaces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import GalleryError, MissingGallery, SettingsError, UnknownName, VectorError
from bict.gallery.metadata import GalleryMetadata, first_generation, parse_metadata
from bict.gallery.rows import Batch, as_batches, fit_to_schema, refuse_repeated, to_embeddings, to_rows
from bict.gallery.stores import Hits, Store, open_store, store_of
from bict.spaces import Comparison, Space, compare, require_same

UNIT_ROWS = 32_768


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The nearest gallery rows of each query, best first; ties keep the gallery's order.

    Attributes:
        ids: `(queries, k)`.
        similarities: `(queries, k)`, larger is nearer: cosine, dot product, or minus the squared distance.
        comparison: how the two spaces may be compared.
        payload: the requested payload columns of the hits, each `(queries, k)`.
    """

    ids: NDArray[Any]
    similarities: NDArray[np.float32]
    comparison: Comparison
    payload: dict[str, NDArray[Any]] = field(default_factory=dict)


class Gallery:
    """Stored vectors of one active space beside ids and payload, and any columns staged or kept by upgrades."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.address = store.address
        self.store.id_column = parse_metadata(store.read_metadata(), store.address).id_column

    @classmethod
    def create(
        cls,
        address: str | Path,
        embeddings: Embeddings | Iterable[Batch],
        payload: pa.Table | None = None,
        *,
        unit_rows: int = UNIT_ROWS,
    ) -> Gallery:
        """Write a new gallery of `(rows, dim)` vectors; labels of the embeddings become the payload column `label`.

        Args:
            address: an unused path, or an empty folder.
            embeddings: all vectors, or a stream of pairs of vectors and payload, of which one is in memory at a time.
            payload: one row per vector, when all vectors are given at once.
            unit_rows: at most so many rows are upgraded as one unit of work.

        Raises:
            GalleryError: the address is in use, there are no rows, or the payload does not fit.
            SpaceError: batches lie in different spaces.
            VectorError: an id occurs twice.
        """
        batches = as_batches(embeddings, payload)
        first = next(batches, None)
        if first is None:
            raise GalleryError("nothing to store: expected at least one row")
        metadata = first_generation(first[0].space)
        tables = _unique_rows(itertools.chain([first], batches), metadata.active)
        store, place = store_of(str(address))
        return cls(store.create(place, tables, metadata.model_dump_json(), unit_rows=unit_rows))

    @classmethod
    def open(cls, address: str | Path) -> Gallery:
        """An existing gallery.

        Raises:
            GalleryError: there is none at this address, it is damaged, or of a newer format.
        """
        return cls(open_store(str(address)))

    @classmethod
    def find(cls, address: str | Path) -> Gallery | None:
        """The gallery at an address, or None where nothing is.

        Raises:
            GalleryError: what is there is damaged, of a newer format, or no gallery.
        """
        try:
            return cls.open(address)
        except MissingGallery:
            return None

    @property
    def metadata(self) -> GalleryMetadata:
        """The newest metadata in the store."""
        return parse_metadata(self.store.read_metadata(), self.address)

    def edit(self, change: Callable[[GalleryMetadata], GalleryMetadata]) -> None:
        """Replace the metadata by a change of the newest, in one atomic step.

        Raises:
            GalleryError: another process changed it in between.
        """
        self.store.write_metadata(change(self.metadata).model_dump_json())

    @property
    def active_column(self) -> str:
        """Name of the column that is searched."""
        return self.metadata.active

    @property
    def active_space(self) -> Space:
        """Space of the vectors that are searched."""
        return self.metadata.active_column.space

    @property
    def spaces(self) -> dict[str, Space]:
        """The space of every vector column, also of staged and kept ones."""
        return {name: column.space for name, column in self.metadata.stored.items()}

    @property
    def payload_columns(self) -> list[str]:
        """Names of the columns that are neither ids nor vectors."""
        metadata = self.metadata
        vectors = {metadata.id_column, *metadata.columns}
        return [name for name in self.store.schema().names if name not in vectors]

    def __len__(self) -> int:
        return self.store.count()

    def add(self, embeddings: Embeddings, payload: pa.Table | None = None, *, replace: bool = False) -> None:
        """Append rows of the active space; the other vector columns stay empty for them until an upgrade fills them.

        Args:
            embeddings: ids, vectors `(rows, dim)` and, where the gallery has a payload column `label`, labels.
            payload: one row per vector, with the gallery's payload columns.
            replace: rows whose id is in the gallery already take the place of the ones there.

        Raises:
            SpaceError: the vectors lie in another space than the active one.
            VectorError: an id is in the gallery already, or ids are of another type.
            GalleryError: the payload does not fit.
        """
        metadata = self.metadata
        require_same(embeddings.space, metadata.active_column.space, f"adding to {self.address}")
        names = [metadata.id_column, *self.payload_columns, metadata.active]
        schema = pa.schema([self.store.schema().field(name) for name in names])
        rows = to_rows(embeddings, payload, metadata.active, id_column=metadata.id_column)
        table = fit_to_schema(rows, schema, id_column=metadata.id_column)
        if replace:
            self.store.replace(table)
            return
        known = self.store.fetch(table[metadata.id_column], [])[metadata.id_column]
        if len(known):
            raise VectorError(f"id {known[0].as_py()!r} is in {self.address} already: ids must be unique")
        self.store.append(table)

    def delete(self, ids: Sequence[str] | Sequence[int]) -> int:
        """Erase rows from live, staged and kept vectors and from the store's older versions; how many there were.

        Raises:
            GalleryError: ids are of another type than the gallery's.
        """
        kind = self.store.schema().field(self.metadata.id_column).type
        try:
            return self.store.delete(pa.array(ids, kind))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise GalleryError(f"found ids such as {next(iter(ids), None)!r}, expected {kind}") from error

    def vectors(self, column: str | None = None, *, with_labels: bool = True) -> Embeddings:
        """All ids, vectors `(rows, dim)` and, where there is a `label` column and it is wanted, labels.

        Raises:
            UnknownName: no such vector column.
            GalleryError: labels are wanted and some rows have none.
            VectorError: the column is empty for rows added after an upgrade.
        """
        spaces = self.spaces
        name = column or self.active_column
        if name not in spaces:
            raise UnknownName("vector column", name, spaces)
        labels = with_labels and "label" in self.payload_columns
        id_column = self.store.id_column
        batches = list(self.store.scan([id_column, name, "label"] if labels else [id_column, name]))
        table = pa.Table.from_batches(batches, None if batches else self._schema_of(id_column, name, labels=labels))
        return to_embeddings(table, name, spaces[name], labels=labels, id_column=id_column)

    def _schema_of(self, *names: str, labels: bool) -> pa.Schema:
        schema = self.store.schema()
        return pa.schema([schema.field(name) for name in (*names, *(["label"] if labels else []))])

    def search(
        self, query: Embeddings, k: int = 10, *, include: Sequence[str] = (), exact: bool = True
    ) -> SearchResult:
        """The k nearest rows of each query vector, fewer where fewer rows have a vector.

        With `exact` off, the live column's index is used where it has one.

        Raises:
            SpaceError: the query's space may not be compared with the active space.
            SettingsError: k is below 1.
            UnknownName: a column to include is no payload column.
        """
        active = self.metadata.active_column
        comparison = compare(query.space, active.space)
        if k < 1:
            raise SettingsError(f"found k={k}, expected at least 1")
        for name in include:
            if name not in self.payload_columns:
                raise UnknownName("payload column", name, self.payload_columns)
        hits = self.store.search(active.name, query.vectors, k, active.space.metric, exact=exact)
        return SearchResult(hits.ids, hits.scores, comparison, self._payload_of(hits, include) if include else {})

    def _payload_of(self, hits: Hits, include: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Payload of the hits by their ids; None for a row that was deleted since it was found."""
        table = self.store.fetch(pa.array(np.unique(hits.ids)), include)
        row_of = {name: row for row, name in enumerate(table[self.store.id_column].to_pylist())}
        rows = pa.array([row_of.get(name) for name in hits.ids.ravel().tolist()], pa.int64())
        shape = hits.ids.shape
        return {name: _objects(table[name].take(rows)).reshape(shape) for name in include}


def _objects(column: pa.ChunkedArray) -> NDArray[Any]:
    """Values as numpy holds them, lists as arrays."""
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _unique_rows(batches: Iterable[Batch], column: str) -> Iterator[pa.Table]:
    """Tables for a stream of batches; after the last one, ids that occurred twice are refused."""
    ids: list[pa.Array] = []
    for batch, payload in batches:
        table = to_rows(batch, payload, column)
        ids += table["id"].chunks
        yield table
    refuse_repeated(pa.chunked_array(ids))
