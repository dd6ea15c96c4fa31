"""How well a way to serve retrieves on a part of the pairs, query by query."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from bict.assessment.candidates import Rows, Sides
from bict.assessment.estimates import Bootstrap
from bict.assessment.relevance import RelevancePairs
from bict.embeddings import Embeddings
from bict.errors import DataError, SpaceError
from bict.evaluation import Listed, evaluate_pair, nearest, score_gap
from bict.reports.assessment import Measure

Float = NDArray[np.float64]

NEIGHBOURS = 10
"""Of the new model's own ranking that count as relevant where nothing else says what is."""
CLUSTERS = 10
ITEMS_PER_CLUSTER = 20
QUERIES_PER_GROUP = 3
GAP_PAIRS = 20_000
ALIKE = 1e-4
"""Part of the largest similarity by which a first and a tenth neighbour differ at least, if vectors mean anything."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Queries and gallery of a part, and what they should find.

    Attributes:
        sides: both models' embeddings of both.
        measure: where relevance comes from.
        relevant: listed relevance; None where it is an equal label.
        groups: `(queries,)` names of classes or clusters.
        bootstrap: over classes, or over queries where there are none.
    """

    sides: Sides
    measure: Measure
    relevant: Listed | None
    groups: NDArray[np.str_]
    bootstrap: Bootstrap

    @classmethod
    def of(
        cls,
        rows: Rows,
        split: NDArray[np.str_] | None,
        *,
        pairs: RelevancePairs | None = None,
        most_queries: int = 1000,
        seed: int = 0,
    ) -> Judge:
        """Judge on these rows: queries are those that the split or the relevance pairs name, else drawn at random.

        Raises:
            DataError: no query is left, or none has anything to find.
        """
        query, gallery = _sides(rows, split, pairs)
        labelled = rows.old.labels is not None and _answerable(rows.old.labels, query, gallery).any()
        if pairs is not None:
            query = query[np.isin(rows.old.ids[query], pairs.query_ids)]
        elif labelled and rows.old.labels is not None:
            query = query[_answerable(rows.old.labels, query, gallery)]
        if len(query) > most_queries:
            query = np.sort(np.random.default_rng(seed).permutation(query)[:most_queries])
        sides = Sides(rows.take(query), rows.take(gallery))
        if pairs is not None:
            listed = pairs.listed(sides.query.old.ids, sides.gallery.old.ids)
            return cls(sides, "relevance pairs", listed, *_by_cluster(sides.query.new, seed))
        if labelled and rows.old.labels is not None:
            return cls(sides, "labels", None, *_by_class(rows.old.labels[query], seed))
        return cls(sides, "new model's neighbours", _neighbours(sides), *_by_cluster(sides.query.new, seed))

    def score(self, query: Embeddings, gallery: Embeddings) -> dict[str, Float]:
        """`(queries,)` average precision, recall@1 and recall@10 of one way; NaN where nothing is to be found.

        Raises:
            DataError: no query has anything to find.
        """
        return evaluate_pair(
            query, gallery, name="judge", query_name="query", gallery_name="gallery", relevant=self.relevant
        ).per_query

    def gap(self, query: Embeddings, gallery: Embeddings, *, seed: int) -> float:
        """Kolmogorov-Smirnov statistic between its scores and the old model's, over items that do not match.

        Without labels over all pairs of two items, nearly all of which do not match. NaN where the two score in
        different units, as where two scores are added.
        """
        old = self.sides.query.old, self.sides.gallery.old
        served = query, gallery
        if query.labels is None:
            served, old = ((_alone(one), _alone(two)) for one, two in (served, old))
        try:
            return score_gap(served, old, pairs=GAP_PAIRS, seed=seed).different_class.value
        except SpaceError:
            return float("nan")

    def worst_group(self, change: Float) -> tuple[str, float]:
        """The class or cluster of three queries or more whose mean `(queries,)` change is least, and that mean."""
        known = ~np.isnan(change)
        names, at, counts = np.unique(self.groups[known], return_inverse=True, return_counts=True)
        means = np.bincount(at, change[known]) / counts
        means[counts < QUERIES_PER_GROUP] = np.inf
        if not np.isfinite(means).any():
            return "", float("nan")
        place = int(means.argmin())
        return str(names[place]), float(means[place])


def _sides(
    rows: Rows, split: NDArray[np.str_] | None, pairs: RelevancePairs | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of queries and of the gallery; where nothing sets them apart every row is both, and never finds itself."""
    everything = np.arange(len(rows))
    if split is None or not (split == "query").any() or not (split != "query").any():
        return everything, everything
    if pairs is not None:
        return everything, np.flatnonzero(split != "query")
    return np.flatnonzero(split == "query"), np.flatnonzero(split != "query")


def _answerable(labels: NDArray[np.str_], query: NDArray[np.int64], gallery: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`(queries,)` whether another row of the gallery has the query's label."""
    names, counts = np.unique(labels[gallery], return_counts=True)
    place = np.minimum(np.searchsorted(names, labels[query]), len(names) - 1)
    others = np.where(names[place] == labels[query], counts[place], 0) - np.isin(query, gallery)
    return np.asarray(others > 0)


def _neighbours(sides: Sides) -> Listed:
    """The new model's own nearest gallery rows of each query.

    Raises:
        DataError: it has no nearest rows to speak of, since all of its vectors are alike.
    """
    k = min(NEIGHBOURS, max(1, (len(sides.gallery) - 1) // 2))
    found, similarity = nearest(sides.query.new, sides.gallery.new, k)
    if k > 1 and np.median(similarity[:, 0] - similarity[:, -1]) < ALIKE * np.abs(similarity).max():
        raise DataError(
            "the new vectors are all alike, so they say nothing about which items belong together: check them"
        )
    return Listed(found.ravel(), np.arange(0, found.size + 1, k))


def _by_class(labels: NDArray[np.str_], seed: int) -> tuple[NDArray[np.str_], Bootstrap]:
    return labels, Bootstrap(np.unique(labels, return_inverse=True)[1], seed=seed)


def _by_cluster(query: Embeddings, seed: int) -> tuple[NDArray[np.str_], Bootstrap]:
    bootstrap = Bootstrap(np.arange(len(query)), seed=seed)
    number = min(CLUSTERS, len(query) // ITEMS_PER_CLUSTER)
    if number < 2:
        return np.full(len(query), ""), bootstrap
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different vectors than clusters: some stay empty
        _, at = kmeans2(query.vectors.astype(np.float64), number, minit="++", rng=np.random.default_rng(seed))
    return np.array([f"cluster {place + 1}" for place in at]), bootstrap


def _alone(side: Embeddings) -> Embeddings:
    """The same items, each its own class."""
    return Embeddings(side.ids, side.vectors, side.space, side.ids.astype(str))
