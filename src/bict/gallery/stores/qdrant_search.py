"""The nearest points: one pass over a column, or Qdrant's own search with the scores computed again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import NORM_TOLERANCE, arrow_to_vectors
from bict.gallery.stores.base import Hits
from bict.gallery.stores.exact import exact_search, scores_of
from bict.gallery.stores.qdrant_collection import ID_COLUMN, Collection
from bict.gallery.stores.qdrant_link import Link
from bict.gallery.stores.qdrant_points import ID_KEY, has_vector, row_id, vector_of

SCORES_AT_ONCE = 2**24
QUERIES_AT_ONCE = 16
RANKED_BY = {"cosine": ("Cosine", "Dot"), "dot": ("Dot", "Cosine"), "l2": ("Euclid",)}


def search(
    link: Link, points: Collection, column: str, queries: NDArray[np.float32], k: int, metric: str, *, exact: bool
) -> Hits:
    """The k best points for each query."""
    scores_of(queries[:0], queries[:0], metric)
    hits = None if exact else _search_index(link, points, column, queries, k, metric)
    return hits or _search_exactly(points, column, queries, k, metric)


def _search_exactly(points: Collection, column: str, queries: NDArray[np.float32], k: int, metric: str) -> Hits:
    chosen, which = points.columns([ID_COLUMN, column]), has_vector([column])
    rows = max(64, min(chosen.rows_at_once, SCORES_AT_ONCE // max(1, len(queries))))
    pages = (chosen.batch(records) for records in points.pages(rows, chosen.wanted, which=which))
    batches = ((b[ID_COLUMN].to_numpy(zero_copy_only=False), arrow_to_vectors(b[column])) for b in pages)
    return exact_search(batches, queries, k, metric, rows=points.count(which))


def _search_index(
    link: Link, points: Collection, column: str, queries: NDArray[np.float32], k: int, metric: str
) -> Hits | None:
    """None where Qdrant ranks otherwise: by another distance, or by dot products of vectors of unequal length."""
    from qdrant_client.models import QueryRequest  # noqa: PLC0415

    params, ids, scores = points.named().get(column), [], []
    if params is None or params.distance.value not in RANKED_BY[metric]:
        return None
    what: dict[str, Any] = {"using": column, "limit": k, "with_vector": [column], "with_payload": [ID_KEY]}
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = queries[start : start + QUERIES_AT_ONCE]
        requests = [QueryRequest(query=query.tolist(), **what) for query in some]
        answers = link.ask("searching", "query_batch_points", requests=requests)
        for query, answer in zip(some, answers, strict=True):
            near = np.asarray([vector_of(point, column) for point in answer.points], np.float32)
            near = near.reshape(len(answer.points), queries.shape[1])
            if metric == "cosine" and (np.abs(np.linalg.norm(near, axis=1) - 1) > NORM_TOLERANCE).any():
                return None
            found = scores_of(query[None], near, metric)[0]
            order = np.argsort(-found, kind="stable")
            ids.append([row_id(answer.points[row]) for row in order])
            scores.append(found[order])
    width = min(map(len, ids), default=0)
    return Hits(np.array([row[:width] for row in ids]), np.array([row[:width] for row in scores], np.float32))
