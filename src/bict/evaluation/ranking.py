"""Exact search in bounded memory: the rank of every relevant gallery row, and the nearest rows.

Queries are ranked block by block. For the nearest rows each (query, gallery row) pair becomes one 64-bit integer that
sorts as the pair ranks; for the ranks of the relevant rows a similarity is enough, for they are counted, not sorted.

Rows whose similarity is equal in float32 are ties, and the lower gallery row ranks first.

The gallery's vectors are read once for each block, some MiB at a time, and never copied as a whole: a `numpy.memmap` of
float32 stays one in `Embeddings`, and may be larger than the memory. What comes on top is bounded by `memory_mb`,
whatever the gallery's size: each query of a block takes 4 bytes for every gallery row (8 for the nearest rows), and
one query has to fit. Ids, labels and what is returned are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import SettingsError, VectorError
from bict.evaluation.counting import ROW_BYTES, from_keys, ranks_among, sort_keys
from bict.evaluation.similarity import Similarity
from bict.spaces import compare

Int = NDArray[np.int64]

LAST = np.iinfo(np.int64).max - 1
"""Key of a row that is not ranked: behind every similarity."""
TILE = 2**18
"""Numbers in a working array: a block is scored in tiles of so many pairs, so that temporaries stay small."""
QUERIES = 2**10
"""Queries in a block at most: more make a product no faster."""
NAMES = 2**14
"""Ids or labels looked up at a time."""


@dataclass(frozen=True, eq=False)
class PositiveRanks:
    """The 1-based ranks of the relevant gallery rows of each query.

    Attributes:
        values: `(positives,)` ranks, ascending within each query, query after query.
        offsets: `(queries + 1,)`; the ranks of query `i` are `values[offsets[i]:offsets[i + 1]]`.
        gallery_size: rows of the gallery, a query's own row included.
    """

    values: Int
    offsets: Int
    gallery_size: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> Int:
        """`(queries,)` number of relevant gallery rows."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class Listed:
    """Relevance by a list: the gallery rows that each query should find.

    Attributes:
        rows: `(pairs,)` gallery rows, query after query.
        offsets: `(queries + 1,)`; those of query `i` are `rows[offsets[i]:offsets[i + 1]]`.
    """

    rows: Int
    offsets: Int

    @property
    def most(self) -> int:
        """The largest number of relevant rows of a query."""
        return int(np.diff(self.offsets).max(initial=0))

    def rows_of(self, query: int) -> Int:
        """`(relevant,)` gallery rows of a query, ascending."""
        return np.unique(self.rows[self.offsets[query] : self.offsets[query + 1]])


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Relevance by an equal label: its number for each query, and for each gallery row, -1 where no query has it."""

    wanted: Int
    classes: NDArray[np.int32]

    @classmethod
    def of(cls, query: Embeddings, gallery: Embeddings) -> _Labelled:
        query_labels, gallery_labels = _labels(query, gallery)
        names, wanted = np.unique(query_labels, return_inverse=True)
        return cls(wanted, _places(gallery_labels, names))

    @property
    def most(self) -> int:
        return int(np.bincount(self.classes + 1)[1:].max(initial=0))

    def rows_of(self, query: int) -> Int:
        return np.flatnonzero(self.classes == self.wanted[query])


def positive_ranks(
    query: Embeddings,
    gallery: Embeddings,
    *,
    relevant: Listed | None = None,
    exclude_self: bool = True,
    memory_mb: int = 256,
) -> PositiveRanks:
    """Rank all gallery rows for each query, and keep the ranks of the relevant ones: those with the query's label.

    Similarity is that of the gallery's space: cosine, dot, or negative squared L2; where both spaces are normalised,
    the dot product. Ties: the lower gallery row ranks first.

    Args:
        query: `(queries, dim)`, with labels unless the relevant rows are listed.
        gallery: `(gallery, dim)`, the same.
        relevant: the relevant rows of each query, in the place of labels; its own row never counts.
        exclude_self: take the gallery row that has the query's own id out of the query's ranking.
        memory_mb: bound on the block and on the work on one of its rows, in MiB; a working tile of some MiB comes on
            top, and 30 bytes for each gallery row that ties with a relevant one.

    Raises:
        SpaceError: the two spaces may not be compared.
        VectorError: an empty side, a side without labels, or ids of different types.
        SettingsError: memory_mb does not hold one query.
    """
    own = own_rows(query, gallery, exclude_self)
    relevance = relevant or _Labelled.of(query, gallery)
    query_bytes = 4 * len(gallery) + 16 * query.space.dim + 24 * relevance.most
    fixed_bytes = (4 + 4 + ROW_BYTES) * len(gallery)  # label numbers, a row without the query's own, its ranking
    ranks: list[Int] = []
    for rows in _blocks(len(query), query_bytes, fixed_bytes, memory_mb):
        ranks += _block_ranks(query, gallery, rows, own, relevance)
    offsets = np.concatenate([[0], np.cumsum([len(found) for found in ranks])])
    return PositiveRanks(np.concatenate(ranks), offsets, len(gallery))


def _block_ranks(
    query: Embeddings, gallery: Embeddings, rows: slice, own: Int, relevance: Listed | _Labelled
) -> list[Int]:
    """The ranks `(relevant,)` of each query in `rows`."""
    block = np.empty((rows.stop - rows.start, len(gallery)), np.float32)
    for tile, table in _tables(query, gallery, rows):
        block[:, tile] = table
    return [
        _ranks_without(similarity, relevance.rows_of(number), own[number])
        for number, similarity in enumerate(block, rows.start)
    ]


def _ranks_without(similarity: NDArray[np.float32], relevant: Int, own: int) -> Int:
    """Ranks of the relevant rows once the query's own row is taken out, if there is one."""
    if own < 0:
        return ranks_among(similarity, relevant)
    relevant = relevant[relevant != own]
    return ranks_among(np.delete(similarity, own), relevant - (relevant > own))


def nearest(
    query: Embeddings, gallery: Embeddings, k: int, *, exclude_self: bool = True, memory_mb: int = 256
) -> tuple[Int, NDArray[np.float32]]:
    """The k most similar gallery rows of each query, exact, most similar first.

    Similarity and ties as in `positive_ranks`; no labels are needed.

    Args:
        query: `(queries, dim)`.
        gallery: `(gallery, dim)`.
        k: rows to return for each query.
        exclude_self: never return the gallery row that has the query's own id.
        memory_mb: bound on the block, in MiB; a working tile of some MiB comes on top.

    Returns:
        Gallery rows `(queries, k)` and their similarities `(queries, k)`.

    Raises:
        SpaceError: the two spaces may not be compared.
        VectorError: an empty side, or ids of different types.
        SettingsError: k is below 1 or more than the rows there are; memory_mb does not hold one query.
    """
    own = own_rows(query, gallery, exclude_self)
    most = len(gallery) - bool((own >= 0).any())
    if not 1 <= k <= most:
        raise SettingsError(f"cannot return k={k} rows of a gallery with {most} to rank: expected 1 <= k <= {most}")
    query_bytes = 8 * len(gallery) + 16 * query.space.dim + 24 * k
    blocks = _blocks(len(query), query_bytes, 0, memory_mb)
    return from_keys(np.concatenate([_nearest_keys(query, gallery, rows, own, k) for rows in blocks]))


def _nearest_keys(query: Embeddings, gallery: Embeddings, rows: slice, own: Int, k: int) -> Int:
    """`(block, k)` sort keys of the queries in `rows`, sorted."""
    keys = np.empty((rows.stop - rows.start, len(gallery)), np.int64)
    for tile, table in _tables(query, gallery, rows):
        keys[:, tile] = sort_keys(table, np.arange(tile.start, tile.stop))
    inside = np.flatnonzero(own[rows] >= 0)
    keys[inside, own[rows][inside]] = LAST
    keys.partition(k - 1, axis=1)
    return np.sort(keys[:, :k], axis=1)


def own_rows(query: Embeddings, gallery: Embeddings, exclude_self: bool) -> Int:
    """`(queries,)` gallery row with the query's id, or -1; the two sides are checked first.

    Raises:
        SpaceError: the two spaces may not be compared.
        VectorError: an empty side, or ids of different types.
    """
    compare(query.space, gallery.space)
    for name, side in (("query", query), ("gallery", gallery)):
        if not len(side):
            raise VectorError(f"the {name} is empty: expected at least one vector")
    own = np.full(len(query), -1, np.int64)
    if exclude_self:
        if not _one_type(query.ids, gallery.ids):
            found = f"{query.ids.dtype} query ids and {gallery.ids.dtype} gallery ids"
            raise VectorError(f"found {found}, so no query finds its own row: use one type, or exclude_self=False")
        order = np.argsort(query.ids)
        places = _places(gallery.ids, query.ids[order])
        rows = np.flatnonzero(places >= 0)
        own[order[places[rows]]] = rows
    return own


def _one_type(first: NDArray[Any], second: NDArray[Any]) -> bool:
    kind = np.result_type(first, second).kind  # "f" for signed with unsigned 64-bit: large ids would collide
    return kind != "f" and (first.dtype.kind == "U") == (second.dtype.kind == "U")


def class_codes(query: Embeddings, gallery: Embeddings) -> tuple[Int, Int]:
    """Label numbers `(queries,)`, -1 where the gallery has no such label, and `(gallery,)`.

    Raises:
        VectorError: a side without labels.
    """
    query_labels, gallery_labels = _labels(query, gallery)
    names, classes = np.unique(gallery_labels, return_inverse=True)
    return _places(query_labels, names).astype(np.int64), classes


def _labels(query: Embeddings, gallery: Embeddings) -> tuple[NDArray[Any], NDArray[Any]]:
    if query.labels is None or gallery.labels is None:
        side = "query" if query.labels is None else "gallery"
        raise VectorError(f"the {side} has no labels: relevance is an equal label, so give both sides labels")
    return query.labels, gallery.labels


def _places(values: NDArray[Any], names: NDArray[Any]) -> NDArray[np.int32]:
    """The place of each value among sorted names, -1 where it is none of them."""
    places = np.empty(len(values), np.int32)
    for start in range(0, len(values), NAMES):
        part = values[start : start + NAMES]
        place = np.minimum(np.searchsorted(names, part), len(names) - 1)
        places[start : start + NAMES] = np.where(names[place] == part, place, -1)
    return places


def _blocks(queries: int, query_bytes: int, fixed_bytes: int, memory_mb: int) -> Iterator[slice]:
    """Slices of the queries whose blocks fit the memory."""
    size = min((memory_mb * 2**20 - fixed_bytes) // query_bytes, QUERIES)
    if size < 1:
        least = -(-(query_bytes + fixed_bytes) // 2**20)
        raise SettingsError(f"memory_mb={memory_mb} does not hold one query against the gallery: give at least {least}")
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def _tables(query: Embeddings, gallery: Embeddings, rows: slice) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Similarities `(block, tile)` of the queries in `rows`, for one tile of the gallery after the other."""
    similarity = Similarity.between(query.space, gallery.space)
    left = similarity.coordinates(query.vectors[rows])
    width = max(1, TILE // max(left.shape))
    for start in range(0, len(gallery), width):
        tile = slice(start, min(start + width, len(gallery)))
        yield tile, similarity.table(left, similarity.coordinates(gallery.vectors[tile]))
