"""One query set against one gallery: the scores, how sure they are, and the scores of each query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import DataError
from bict.evaluation.metrics import NoPositives, average_precision, average_precision_at, mean, recall_at
from bict.evaluation.ranking import Listed, positive_ranks
from bict.evaluation.significance import bootstrap_interval


@dataclass(frozen=True, eq=False)
class PairResult:
    """Scores of one query set against one gallery, under the keys "map", "map@100", "recall@1", "recall@10", ...

    Attributes:
        name: of the pair.
        query: name of the query side.
        gallery: name of the gallery side.
        scores: means over the queries.
        intervals: 95 % bootstrap intervals of the means.
        per_query: `(queries,)` for each key, NaN where a query was skipped; for flips and paired tests.
    """

    name: str
    query: str
    gallery: str
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_query: dict[str, NDArray[np.float64]]


def evaluate_pair(
    query: Embeddings,
    gallery: Embeddings,
    *,
    name: str,
    query_name: str,
    gallery_name: str,
    relevant: Listed | None = None,
    ks: Sequence[int] = (1, 10),
    no_positives: NoPositives = "skip",
    exclude_self: bool = True,
    memory_mb: int = 256,
    seed: int = 0,
) -> PairResult:
    """Search the gallery with every query, and score the rankings.

    Args:
        query: `(queries, dim)`, with labels unless the relevant rows are listed.
        gallery: `(gallery, dim)`, the same.
        name: of the pair, such as "cross-test".
        query_name: of the query side, such as "new".
        gallery_name: of the gallery side, such as "old".
        relevant: the relevant rows of each query, in the place of labels.
        ks: a recall@k for each.
        no_positives: what a query without a relevant gallery row gets.
        exclude_self: take the gallery row that has the query's own id out of the query's ranking.
        memory_mb: bound on the ranked block, in MiB.
        seed: of the bootstrap.

    Raises:
        DataError: no query has a relevant gallery row; or one has none and `no_positives` is "error".
        SpaceError: the two spaces may not be compared.
        VectorError: an empty side, a side without labels, or ids of different types.
        SettingsError: a k below 1, or memory_mb does not hold one query.
    """
    ranks = positive_ranks(query, gallery, relevant=relevant, exclude_self=exclude_self, memory_mb=memory_mb)
    if not len(ranks.values):
        found = f"none of {len(query)} queries has a relevant row among {len(gallery)} gallery rows"
        raise DataError(f"{name}: {found}: check that both sides use the same labels")
    per_query = {
        "map": average_precision(ranks, no_positives=no_positives),
        "map@100": average_precision_at(ranks, 100, no_positives=no_positives),
    } | {f"recall@{k}": recall_at(ranks, k, no_positives=no_positives) for k in ks}
    return PairResult(
        name=name,
        query=query_name,
        gallery=gallery_name,
        scores={key: mean(values) for key, values in per_query.items()},
        intervals={key: bootstrap_interval(values, seed=seed) for key, values in per_query.items()},
        per_query=per_query,
    )
