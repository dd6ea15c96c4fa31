"""A match threshold of an application, carried over an upgrade at the same share of false matches."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import DataError, SettingsError
from bict.evaluation.items import require_same_items
from bict.evaluation.similarity import Similarity
from bict.reports.assessment import Estimate, Threshold

Int = NDArray[np.int64]
Scores = NDArray[np.float32]

BLOCK = 2**20
"""Numbers in a working array: pairs are scored so many coordinates at a time."""
LEVEL = 0.95
UNKNOWN = (math.nan, math.nan)


def carry_threshold(
    old_threshold: float,
    *,
    old: Embeddings,
    upgraded: Embeddings,
    new: Embeddings,
    seed: int,
    pairs: int = 200_000,
    resamples: int = 200,
) -> Threshold:
    """The lowest threshold of the upgraded system that makes no more false matches than the old one does at its own.

    The application takes two items for the same where their similarity is at least the threshold. Both systems score
    the same ordered pairs of different items, which are all or, of more, some drawn at random: an old query on the old
    gallery, and a new query on the upgraded gallery. Where k non-matching pairs reach the old threshold, the new one
    lies just above the similarity of the next after the k-th. A pair matches where its labels are equal; without labels
    every pair counts as non-matching, so a few true matches raise both rates alike, and the threshold still moves to
    where as many pairs pass.

    The interval is a percentile bootstrap that draws classes, or without labels items, again and weighs a pair by how
    often both its ends were drawn: pairs with an end in common succeed and fail together, so drawing pairs would
    promise too much. Where no non-matching pair reaches the old threshold, the new one lies just above all of them, and
    its interval is NaN: these items do not say how far above.

    Args:
        old_threshold: in units of the old similarity: cosine, dot product, or negative squared distance.
        old: `(items, old_dim)` judge items in the old space.
        upgraded: `(items, new_dim)` the same, psi of the old vectors.
        new: `(items, new_dim)` the same by the new model.
        seed: of the draws.
        pairs: most pairs to score of each kind, matching and not.
        resamples: of the bootstrap.

    Raises:
        SettingsError: a threshold that is not finite or, for a cosine, outside -1 to 1.
        DataError: no two items of different labels.
        SpaceError: new queries may not search the upgraded gallery.
        VectorError: not the same items on each side.
    """
    _check_threshold(old_threshold, Similarity.between(old.space, old.space))
    for other in (upgraded, new):
        require_same_items(old, other, "items before and after the upgrade")
    groups = np.arange(len(old)) if old.labels is None else np.unique(old.labels, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    of, row = _non_matching(groups, pairs, rng)
    before, after = _similarities(old, old, of, row), _similarities(new, upgraded, of, row)
    passed = before >= old_threshold
    carried = _Carried(passed, after)
    threshold = carried.threshold(np.ones(len(of)))
    interval = carried.interval(groups[of], groups[row], resamples, rng) if passed.any() else UNKNOWN
    same_of, same_row = _matching(groups, pairs, rng)
    return Threshold(
        old=old_threshold,
        new=Estimate(value=threshold, interval=interval),
        false_positive_rate=float(passed.mean()),
        true_positive_rate_old=_share(_similarities(old, old, same_of, same_row) >= old_threshold),
        true_positive_rate_new=_share(_similarities(new, upgraded, same_of, same_row) >= threshold),
        unmoved_false_positive_rate=float((after >= old_threshold).mean()),
    )


class _Carried:
    """The new threshold for any weights of the pairs, which are sorted once."""

    def __init__(self, passed: NDArray[np.bool_], after: Scores) -> None:
        self.order = np.argsort(-after, kind="stable")
        self.scores, self.passed = after[self.order], passed[self.order]

    def threshold(self, weights: NDArray[np.float64]) -> float:
        """Just above the first pair, most similar first, with which too much weight would pass; NaN without weight."""
        weights = weights[self.order]
        reached = np.cumsum(weights)
        if not reached[-1]:
            return math.nan
        place = int(np.searchsorted(reached, weights[self.passed].sum(), "right"))
        if place == len(self.scores):
            return float(self.scores[-1])
        return float(np.nextafter(self.scores[place], np.float32(np.inf)))

    def interval(self, first: Int, second: Int, resamples: int, rng: np.random.Generator) -> tuple[float, float]:
        """Of thresholds where the groups at both ends of the pairs, `(pairs,)`, are drawn again."""
        number = int(max(first.max(), second.max())) + 1
        drawn = []
        for _ in range(resamples):
            counts = np.bincount(rng.integers(number, size=number), minlength=number).astype(np.float64)
            drawn.append(self.threshold(counts[first] * counts[second]))
        known = [value for value in drawn if not math.isnan(value)]
        if not known:
            return UNKNOWN
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def _check_threshold(threshold: float, similarity: Similarity) -> None:
    if similarity.unit or similarity.metric == "cosine":
        if not -1 <= threshold <= 1:
            raise SettingsError(f"found threshold {threshold}, expected a cosine: a number between -1 and 1")
    elif not math.isfinite(threshold):
        raise SettingsError(f"found threshold {threshold}, expected a finite number")


def _non_matching(groups: Int, pairs: int, rng: np.random.Generator) -> tuple[Int, Int]:
    """Both ends `(pairs,)` of ordered pairs of different groups."""
    by_group = np.argsort(groups, kind="stable")
    start, size = _runs(groups, by_group)
    of, place = _draw(len(groups) - size, pairs, rng)
    if not len(of):
        raise DataError(f"found one label on all {len(groups)} items, expected pairs that do not match: judge by more")
    place += np.where(place >= start[of], size[of], 0)
    return of, by_group[place]


def _matching(groups: Int, pairs: int, rng: np.random.Generator) -> tuple[Int, Int]:
    """Both ends `(pairs,)` of ordered pairs of different items of one group."""
    by_group = np.argsort(groups, kind="stable")
    start, size = _runs(groups, by_group)
    own = np.argsort(by_group)
    of, place = _draw(size - 1, pairs, rng)
    place += start[of]
    place += place >= own[of]
    return of, by_group[place]


def _runs(groups: Int, by_group: Int) -> tuple[Int, Int]:
    """Where the run of each item's group starts among the items sorted by group, and how long it is."""
    start, stop = (np.searchsorted(groups[by_group], groups, side) for side in ("left", "right"))
    return start, stop - start


def _draw(partners: Int, pairs: int, rng: np.random.Generator) -> tuple[Int, Int]:
    """Item and number of its partner for all pairs, or for `pairs` of them drawn without replacement."""
    ends = np.cumsum(partners)
    total = int(ends[-1])
    numbers = np.arange(total) if total <= pairs else np.sort(rng.choice(total, pairs, replace=False))
    of = np.searchsorted(ends, numbers, "right")
    return of, numbers - (ends - partners)[of]


def _similarities(query: Embeddings, gallery: Embeddings, of: Int, row: Int) -> Scores:
    """`(pairs,)` of queries `of` and gallery rows `row`."""
    similarity = Similarity.between(query.space, gallery.space)
    size = max(1, BLOCK // query.space.dim)
    found = np.empty(len(of), np.float32)
    for start in range(0, len(of), size):
        block = slice(start, start + size)
        ends = similarity.coordinates(query.vectors[of[block]]), similarity.coordinates(gallery.vectors[row[block]])
        found[block] = similarity.pairs(*ends)
    return found


def _share(passed: NDArray[np.bool_]) -> float:
    return float(passed.mean()) if len(passed) else math.nan
