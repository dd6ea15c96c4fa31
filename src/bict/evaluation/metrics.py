"""Retrieval metrics of each query, from the ranks of its relevant gallery rows.

Every function returns `(queries,)` float64, one value for each query in order, so that two systems can be compared
query by query. What a query without relevant rows gets is the argument `no_positives`: "skip" gives NaN, which `mean`
leaves out; "zero" gives 0; "error" refuses.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bict.errors import DataError, SettingsError
from bict.evaluation.ranking import PositiveRanks

NoPositives = Literal["skip", "zero", "error"]
PerQuery = NDArray[np.float64]


def average_precision(ranks: PositiveRanks, *, no_positives: NoPositives = "skip") -> PerQuery:
    """Average precision over the whole ranking, `AP = (1/m) sum_i i / r_i`.

    `m` is the number of relevant rows and `r_i` the rank of the i-th of them: plain AP, the mean of the precision at
    each relevant row, not the trapezoid of the Oxford and Paris benchmarks.

    Returns:
        `(queries,)` in 0 to 1, NaN where skipped.

    Raises:
        DataError: a query has no relevant row and `no_positives` is "error".
    """
    return average_precision_at(ranks, max(ranks.gallery_size, 1), no_positives=no_positives)


def average_precision_at(ranks: PositiveRanks, k: int, *, no_positives: NoPositives = "skip") -> PerQuery:
    """Average precision of the first k rows, `AP@k = (1/min(m, k)) sum_{r <= k} P(r) rel(r)`.

    `m` is the number of relevant rows, `P(r)` the precision of the first r rows, `rel(r)` 1 where row r is relevant.
    With k = 100 the mean is the measure of Google Landmarks v2 (Weyand et al., CVPR 2020, arXiv 2004.01804).

    Returns:
        `(queries,)` in 0 to 1, NaN where skipped.

    Raises:
        DataError: a query has no relevant row and `no_positives` is "error".
        SettingsError: k is below 1.
    """
    _check_k(k)
    counts = ranks.counts
    owner = np.repeat(np.arange(len(ranks)), counts)
    place = np.arange(len(ranks.values)) - ranks.offsets[owner] + 1
    precision = np.where(ranks.values <= k, place / ranks.values, 0.0)
    total = np.bincount(owner, weights=precision, minlength=len(ranks))
    return _without_positives(total / np.clip(counts, 1, k), counts, no_positives)


def recall_at(ranks: PositiveRanks, k: int, *, no_positives: NoPositives = "skip") -> PerQuery:
    """Whether a relevant row is among the first k: recall@k of metric learning, also called hit rate or CMC@k.

    This is not the share of the relevant rows found, which information retrieval calls recall.

    Returns:
        `(queries,)` of 0 and 1, NaN where skipped.

    Raises:
        DataError: a query has no relevant row and `no_positives` is "error".
        SettingsError: k is below 1.
    """
    _check_k(k)
    counts = ranks.counts
    hit = np.zeros(len(ranks))
    some = np.flatnonzero(counts)
    hit[some] = ranks.values[ranks.offsets[some]] <= k
    return _without_positives(hit, counts, no_positives)


def mean(per_query: PerQuery) -> float:
    """Mean over the queries `(queries,)` that are not NaN.

    Raises:
        DataError: no query is left.
    """
    if np.isnan(per_query).all():
        raise DataError(f"none of {len(per_query)} queries has a relevant gallery row: there is nothing to average")
    return float(np.nanmean(per_query))


def _check_k(k: int) -> None:
    if k < 1:
        raise SettingsError(f"found k={k}, expected k of at least 1")


def _without_positives(scores: PerQuery, counts: NDArray[np.int64], no_positives: NoPositives) -> PerQuery:
    """Scores with the policy applied to the queries whose count is 0."""
    if no_positives not in ("skip", "zero", "error"):
        raise SettingsError(f"found no_positives={no_positives!r}, expected 'skip', 'zero' or 'error'")
    none = counts == 0
    if no_positives == "error" and none.any():
        found = f"{int(none.sum())} of {len(counts)} queries have no relevant gallery row"
        raise DataError(f"{found}, the first is query {int(np.argmax(none))}: remove them, or skip or zero them")
    return np.where(none, np.nan if no_positives == "skip" else 0.0, scores)
