"""Exact search over vectors that stream by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import normalise
from bict.errors import UnknownName
from bict.gallery.stores.base import Hits

Vectors = NDArray[np.float32]


def _cosine(queries: Vectors, gallery: Vectors) -> Vectors:
    return normalise(queries) @ normalise(gallery).T


def _dot(queries: Vectors, gallery: Vectors) -> Vectors:
    return queries @ gallery.T


def _negative_squared_l2(queries: Vectors, gallery: Vectors) -> Vectors:
    q, g = queries.astype(np.float64), gallery.astype(np.float64)  # the expansion cancels in float32
    squared = (q**2).sum(1)[:, None] + (g**2).sum(1)[None] - 2 * q @ g.T
    return np.asarray(-np.maximum(squared, 0), np.float32)


SIMILARITIES: dict[str, Callable[[Vectors, Vectors], Vectors]] = {
    "cosine": _cosine,
    "dot": _dot,
    "l2": _negative_squared_l2,
}


def scores_of(queries: Vectors, gallery: Vectors, metric: str) -> Vectors:
    """Similarities `(queries, rows)`, larger is nearer.

    Raises:
        UnknownName: the metric is not known.
    """
    if metric not in SIMILARITIES:
        raise UnknownName("metric", metric, SIMILARITIES)
    return SIMILARITIES[metric](queries, gallery)


def exact_search(
    batches: Iterable[tuple[NDArray[Any], Vectors]], queries: Vectors, k: int, metric: str, *, rows: int
) -> Hits:
    """The k most similar rows of a stream for each query, ties in stream order.

    Similarity is `q.g / (|q| |g|)` for cosine, `q.g` for dot and `-|q - g|^2` for l2.

    Args:
        batches: pairs of ids `(batch,)` and vectors `(batch, dim)`.
        queries: `(queries, dim)`.
        k: hits wanted for each query.
        metric: a key of `SIMILARITIES`.
        rows: how many rows the stream holds in all; where it is smaller than k, it takes the place of k.

    Raises:
        UnknownName: the metric is not known.
    """
    scores_of(queries[:0], queries[:0], metric)
    k = min(k, rows)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    ids = np.empty((len(queries), k), object)
    for batch_ids, vectors in batches:
        _merge(scores, ids, scores_of(queries, vectors, metric), batch_ids.astype(object))
    return Hits(np.array(ids.tolist()).reshape(ids.shape), scores)


def _merge(scores: Vectors, ids: NDArray[Any], found: Vectors, found_ids: NDArray[Any]) -> None:
    """Put the better of `found` `(queries, batch)` into the running best `(queries, k)`; a tie keeps the earlier."""
    better = found > scores[:, -1:]
    for query in np.flatnonzero(better.any(axis=1)):
        rows = np.flatnonzero(better[query])
        merged = np.concatenate([scores[query], found[query, rows]])
        order = np.argsort(-merged, kind="stable")[: scores.shape[1]]
        scores[query] = merged[order]
        ids[query] = np.concatenate([ids[query], found_ids[rows]])[order]
