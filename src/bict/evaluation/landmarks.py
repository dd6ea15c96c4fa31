"""The landmark benchmarks of the literature, where a list of gallery ids says what each query should find.

Oxford and Paris in their revisited form take average precision by trapezoids after junk has left the ranking; Google
Landmarks v2 takes the plain average precision of the first 100 rows. The two are not the same function.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import DataError, SettingsError
from bict.evaluation.metrics import PerQuery
from bict.evaluation.ranking import nearest

Int = NDArray[np.int64]

PROTOCOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""By name: which lists hold the positives of a protocol, and which its junk."""


@dataclass(frozen=True)
class RevisitedTruth:
    """Gallery ids that one query should find: plainly visible (easy), barely (hard), or not counted (junk)."""

    easy: tuple[str, ...] = ()
    hard: tuple[str, ...] = ()
    junk: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LandmarkScore:
    """Scores of one protocol or usage.

    Attributes:
        scores: means over the queries that have positives, in 0 to 1; NaN where none has.
        per_query: `(queries,)` for each key of `scores`, NaN where the query has no positive.
        skipped: queries without positives.
    """

    scores: dict[str, float]
    per_query: dict[str, PerQuery]
    skipped: int


def revisited_scores(
    query: Embeddings,
    gallery: Embeddings,
    truth: Mapping[str, RevisitedTruth],
    *,
    ks: Sequence[int] = (1, 5, 10),
    memory_mb: int = 256,
) -> dict[str, LandmarkScore]:
    """The keys "map" and "mp@k" of the protocols "easy", "medium" and "hard".

    Radenovic, Iscen, Tolias, Avrithis, Chum: "Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking",
    CVPR 2018, with k = 1, 5, 10. Queries without positives are skipped.

    Args:
        query: `(queries, dim)`, every query of `truth` and no other.
        gallery: `(gallery, dim)`; rows that no list names are distractors.
        truth: what each query id should find.
        ks: an mP@k for each.
        memory_mb: bound on the ranked block, in MiB; the answers for one block come on top.

    Raises:
        DataError: queries and truth differ, or a listed image is not in the gallery.
        SpaceError: the two spaces may not be compared.
        VectorError: the gallery is empty.
        SettingsError: a k below 1, or memory_mb does not hold one query.
    """
    if min(ks, default=1) < 1:
        raise SettingsError(f"found k={min(ks)}, expected k of at least 1")
    _require_queries(query, truth)
    rows = _rows_by_id(gallery, (name for lists in truth.values() for name in lists.easy + lists.hard + lists.junk))
    found: dict[str, list[list[float]]] = {protocol: [] for protocol in PROTOCOLS}
    for name, places in zip(query.ids.tolist(), _places(query, gallery, memory_mb), strict=True):
        for protocol, (positives, junk) in PROTOCOLS.items():
            ranks = without_junk(*(places[_listed(truth[name], parts, rows)] for parts in (positives, junk)))
            found[protocol].append([trapezoid_precision(ranks), *(precision_at(ranks, k) for k in ks)])
    keys = ["map", *(f"mp@{k}" for k in ks)]
    return {protocol: _summary(dict(zip(keys, np.array(values).T, strict=True))) for protocol, values in found.items()}


def landmark_scores(
    query: Embeddings,
    gallery: Embeddings,
    relevant: Mapping[str, Sequence[str]],
    usage: Mapping[str, str],
    *,
    k: int = 100,
    memory_mb: int = 256,
) -> dict[str, LandmarkScore]:
    """The key "map@k" of each usage, such as "private" and "public", over the queries of that usage.

    `AP@k = (1/min(m, k)) sum_{r <= k} P(r) rel(r)`, with `m` relevant images in the gallery, `P(r)` the precision of
    the first r rows and `rel(r)` 1 where row r is relevant. A query that finds none counts 0; one that has none, m = 0,
    is skipped. Weyand et al., "Google Landmarks Dataset v2", CVPR 2020, arXiv 2004.01804, with k = 100.

    Args:
        query: `(queries, dim)`, every query of `relevant` and no other.
        gallery: `(gallery, dim)`.
        relevant: gallery ids that each query id should find.
        usage: the name under which each query id is scored.
        k: rows that count.
        memory_mb: bound on the ranked block, in MiB.

    Raises:
        DataError: queries and lists differ, or a listed image is not in the gallery.
        SpaceError: the two spaces may not be compared.
        VectorError: the gallery is empty.
        SettingsError: k is below 1, or memory_mb does not hold one query.
    """
    _require_queries(query, relevant)
    _require_queries(query, usage)
    rows = _rows_by_id(gallery, (name for names in relevant.values() for name in names))
    top, _ = nearest(query, gallery, min(k, len(gallery)), exclude_self=False, memory_mb=memory_mb)
    names = query.ids.tolist()
    wanted = [[rows[image] for image in set(relevant[name])] for name in names]
    scores = np.array([_cut_precision(np.isin(*pair), len(pair[1]), k) for pair in zip(top, wanted, strict=True)])
    usages = np.array([usage[name] for name in names])
    return {str(kind): _summary({f"map@{k}": scores[usages == kind]}) for kind in np.unique(usages)}


def without_junk(positives: Int, junk: Int) -> Int:
    """Ranks of the positives `(positives,)`, ascending, once the rows at the ranks `junk` have left the ranking."""
    positives, junk = np.unique(positives), np.unique(junk)
    return positives - np.searchsorted(junk, positives)


def trapezoid_precision(ranks: Int) -> float:
    """Average precision by trapezoids, `AP = (1/m) sum_i (p_before + p_now) / 2`; NaN without positives.

    `p_now = i / r_i` at the i-th positive of rank `r_i`, counted from 1, and `p_before = (i - 1) / (r_i - 1)` at the
    row before it, 1 where there is none.

    Args:
        ranks: `(positives,)` 1-based, ascending.
    """
    if not len(ranks):
        return float("nan")
    place = np.arange(len(ranks))
    before = np.where(ranks > 1, place / np.maximum(ranks - 1, 1), 1.0)
    return float(np.mean(before + (place + 1) / ranks) / 2)


def precision_at(ranks: Int, k: int) -> float:
    """Share of positives among the first `min(k, rank of the last positive)` rows; NaN without positives.

    Args:
        ranks: `(positives,)` 1-based, ascending.
        k: rows that count.
    """
    if not len(ranks):
        return float("nan")
    last = min(k, int(ranks[-1]))
    return float((ranks <= last).sum() / last)


def _cut_precision(hits: NDArray[np.bool_], positives: int, k: int) -> float:
    """AP@k from whether each of the first rows is relevant."""
    if not positives:
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / min(positives, k))


def _places(query: Embeddings, gallery: Embeddings, memory_mb: int) -> Iterator[Int]:
    """For each query the 1-based rank of every gallery row, `(gallery,)`."""
    block = max(1, memory_mb * 2**20 // (32 * len(gallery) + 16 * query.space.dim))
    for start in range(0, len(query), block):
        part = query.take(np.arange(start, min(start + block, len(query))))
        for order in nearest(part, gallery, len(gallery), exclude_self=False, memory_mb=memory_mb)[0]:
            places = np.empty(len(order), np.int64)
            places[order] = np.arange(1, len(order) + 1)
            yield places


def _listed(truth: RevisitedTruth, parts: tuple[str, ...], rows: dict[str, int]) -> Int:
    """Gallery rows of the images in some lists of a query."""
    return np.array([rows[image] for part in parts for image in getattr(truth, part)], np.int64)


def _summary(per_query: dict[str, PerQuery]) -> LandmarkScore:
    counted = ~np.isnan(next(iter(per_query.values())))
    some = bool(counted.any())
    scores = {key: float(values[counted].mean()) if some else float("nan") for key, values in per_query.items()}
    return LandmarkScore(scores, per_query, int((~counted).sum()))


def _require_queries(query: Embeddings, truth: Mapping[str, object]) -> None:
    embedded = set(query.ids.tolist())
    if not embedded:
        raise DataError("there is no query to score: embed the benchmark's queries")
    unknown, absent = sorted(embedded - set(truth), key=str), sorted(set(truth) - embedded)
    if unknown:
        found = f"{len(unknown)} queries are not of the benchmark, the first is {unknown[0]}"
        raise DataError(f"{found}: give its own queries, under its own ids")
    if absent:
        found = f"{len(absent)} of the benchmark's {len(truth)} queries are not embedded, the first is {absent[0]}"
        raise DataError(f"{found}: embed all of them")


def _rows_by_id(gallery: Embeddings, wanted: Iterable[str]) -> dict[str, int]:
    """Gallery rows by id."""
    rows = {name: row for row, name in enumerate(gallery.ids.tolist())}
    lacking = sorted(set(wanted) - set(rows))
    if lacking:
        found = f"{len(lacking)} images that queries should find are not in the gallery, the first is {lacking[0]}"
        raise DataError(f"{found}: embed the benchmark's whole gallery")
    return rows
