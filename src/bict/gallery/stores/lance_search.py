"""Search in a Lance table: one pass over a column, or a few partitions of its index."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.embeddings import arrow_to_vectors
from bict.gallery.stores.base import BATCH_ROWS, Hits
from bict.gallery.stores.exact import exact_search, scores_of
from bict.gallery.stores.lance_files import AHEAD
from bict.gallery.stores.lance_tables import presence

if TYPE_CHECKING:
    import lance

SCORES_AT_ONCE = 2**24
PROBED_SHARE = 0.1


def rows_with(data: lance.LanceDataset, id_column: str, ids: pa.Array) -> list[int]:
    """Numbers of the rows with these ids, in scan order, found in one pass over the ids."""
    start, found = 0, [np.zeros(0, np.int64)]
    wanted = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    for batch in data.to_batches(columns=[id_column], batch_size=BATCH_ROWS):
        found.append(start + np.flatnonzero(pc.is_in(batch[id_column], value_set=wanted)))
        start += len(batch)
    return [int(row) for row in np.concatenate(found)]


def search_exactly(
    data: lance.LanceDataset, id_column: str, column: str, queries: NDArray[np.float32], k: int, metric: str
) -> Hits:
    """The k best rows that have a vector, in one pass."""
    batch_rows = max(64, min(BATCH_ROWS, SCORES_AT_ONCE // max(1, len(queries))))
    whole = data.to_batches(columns=[id_column, column], batch_size=batch_rows, **AHEAD)
    batches = (
        (batch[id_column].to_numpy(zero_copy_only=False), arrow_to_vectors(batch[column]))
        for batch in (_with_vector(batch, column) for batch in whole)
    )
    return exact_search(batches, queries, k, metric, rows=data.count_rows(filter=presence([column], [])))


def search_index(
    data: lance.LanceDataset, id_column: str, column: str, queries: NDArray[np.float32], k: int, metric: str
) -> Hits:
    """The k best rows of a tenth of the index's partitions, with exact scores."""
    ids, scores = [], []
    probes = max(1, math.ceil(PROBED_SHARE * math.sqrt(data.count_rows())))
    for query in queries:
        near = {"column": column, "q": query, "k": k, "nprobes": probes}
        found = data.to_table(columns=[id_column, column, "_distance"], nearest=near)
        exact = scores_of(query[None], arrow_to_vectors(found[column]), metric)[0]
        order = np.argsort(-exact, kind="stable")
        ids.append(found[id_column].to_numpy()[order])
        scores.append(exact[order])
    width = min(map(len, ids), default=0)
    found_scores = np.array([row[:width] for row in scores], np.float32).reshape(len(ids), width)
    return Hits(np.array([row[:width].tolist() for row in ids]).reshape(len(ids), width), found_scores)


def _with_vector(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    return batch.filter(batch[column].is_valid()) if batch[column].null_count else batch
