"""Exact search in bounded memory: the rank of every relevant gallery row, and the nearest rows.

Each (query, gallery row) pair becomes one 64-bit integer: the similarity, most similar first, in the upper 32 bits,
then the gallery row, then one bit that says whether the row is relevant. Sorting these integers sorts by similarity,
breaks ties by gallery row, and leaves the relevant positions to be read off.

Rows whose similarity is equal in float32 are ties, and the lower gallery row ranks first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import SettingsError, VectorError
from bict.evaluation.similarity import Similarity
from bict.spaces import compare

Int = NDArray[np.int64]

LAST = np.iinfo(np.int64).max - 1
"""Key of a row that is not ranked: behind every similarity, and not relevant."""
TILE = 2**18
"""Numbers in a working array: a block is scored in tiles of so many pairs, so that temporaries stay small."""


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

    def block(self, queries: slice, tile: slice) -> NDArray[np.bool_]:
        """`(queries, tile)`: whether a gallery row of the tile is relevant."""
        inside = slice(self.offsets[queries.start], self.offsets[queries.stop])
        rows, counts = self.rows[inside], np.diff(self.offsets[queries.start : queries.stop + 1])
        owners = np.repeat(np.arange(len(counts)), counts)
        here = (tile.start <= rows) & (rows < tile.stop)
        found = np.zeros((len(counts), tile.stop - tile.start), np.bool_)
        found[owners[here], rows[here] - tile.start] = True
        return found


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Relevance by an equal label."""

    wanted: Int
    classes: Int

    @property
    def most(self) -> int:
        return int(np.bincount(self.classes).max())

    def block(self, queries: slice, tile: slice) -> NDArray[np.bool_]:
        return np.asarray(self.wanted[queries, None] == self.classes[None, tile])


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
        memory_mb: bound on the ranked block, in MiB; a working tile of some MiB comes on top.

    Raises:
        SpaceError: the two spaces may not be compared.
        VectorError: an empty side, a side without labels, or ids of different types.
        SettingsError: memory_mb does not hold one query.
    """
    own = own_rows(query, gallery, exclude_self)
    relevance = relevant or _Labelled(*class_codes(query, gallery))
    values, counts = [], []
    for rows in _blocks(query, gallery, relevance.most, memory_mb):
        keys = _keys(query, gallery, rows, own, relevance)
        keys.sort(axis=1)
        keys &= 1
        hits = np.flatnonzero(keys)
        values.append(hits % len(gallery) + 1)
        counts.append(np.bincount(hits // len(gallery), minlength=len(keys)))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return PositiveRanks(np.concatenate(values), offsets, len(gallery))


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
        memory_mb: bound on the ranked block, in MiB; a working tile of some MiB comes on top.

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
    found = []
    for rows in _blocks(query, gallery, k, memory_mb):
        keys = _keys(query, gallery, rows, own)
        keys.partition(k - 1, axis=1)
        found.append(np.sort(keys[:, :k], axis=1))
    return _decode(np.concatenate(found))


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
        _, at, rows = np.intersect1d(query.ids, gallery.ids, assume_unique=True, return_indices=True)
        own[at] = rows
    return own


def _one_type(first: NDArray[Any], second: NDArray[Any]) -> bool:
    kind = np.result_type(first, second).kind  # "f" for signed with unsigned 64-bit: large ids would collide
    return kind != "f" and (first.dtype.kind == "U") == (second.dtype.kind == "U")


def class_codes(query: Embeddings, gallery: Embeddings) -> tuple[Int, Int]:
    """Label numbers `(queries,)`, -1 where the gallery has no such label, and `(gallery,)`.

    Raises:
        VectorError: a side without labels.
    """
    if query.labels is None or gallery.labels is None:
        side = "query" if query.labels is None else "gallery"
        raise VectorError(f"the {side} has no labels: relevance is an equal label, so give both sides labels")
    names, classes = np.unique(gallery.labels, return_inverse=True)
    place = np.minimum(np.searchsorted(names, query.labels), len(names) - 1)
    return np.where(names[place] == query.labels, place, -1), classes


def _blocks(query: Embeddings, gallery: Embeddings, kept: int, memory_mb: int) -> Iterator[slice]:
    """Slices of the queries whose blocks fit the memory, where up to `kept` rows of each query are read off."""
    row_bytes = 8 * len(gallery) + 16 * query.space.dim + 24 * kept
    size = memory_mb * 2**20 // row_bytes
    if size < 1:
        least = -(-row_bytes // 2**20)
        raise SettingsError(f"memory_mb={memory_mb} does not hold one query against the gallery: give at least {least}")
    for start in range(0, len(query), size):
        yield slice(start, min(start + size, len(query)))


def _keys(
    query: Embeddings, gallery: Embeddings, rows: slice, own: Int, relevance: Listed | _Labelled | None = None
) -> Int:
    """`(block, gallery)` sort keys of the queries in `rows`, unsorted."""
    similarity = Similarity.between(query.space, gallery.space)
    left = similarity.coordinates(query.vectors[rows])
    keys = np.empty((len(left), len(gallery)), np.int64)
    width = max(1, TILE // max(left.shape))
    for start in range(0, len(gallery), width):
        tile = slice(start, min(start + width, len(gallery)))
        key = _encode(similarity.table(left, similarity.coordinates(gallery.vectors[tile])))
        key |= np.arange(tile.start, tile.stop) << 1
        if relevance is not None:
            key |= relevance.block(rows, tile)
        keys[:, tile] = key
    inside = np.flatnonzero(own[rows] >= 0)
    keys[inside, own[rows][inside]] = LAST
    return keys


def _encode(similarity: NDArray[np.float32]) -> Int:
    """Similarities as integers in reversed order, in the upper 32 bits."""
    bits = (similarity + np.float32(0)).view(np.int32)  # + 0 makes -0 equal to 0
    return np.where(bits >= 0, ~bits, bits & 0x7FFFFFFF).astype(np.int64) << 32


def _decode(keys: Int) -> tuple[Int, NDArray[np.float32]]:
    """Gallery rows and similarities of sort keys."""
    order = (keys >> 32).astype(np.int32)
    bits = np.where(order < 0, ~order, order | np.int32(-(2**31)))
    return (keys & 0xFFFFFFFF) >> 1, bits.view(np.float32)
