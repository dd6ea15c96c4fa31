"""How differently two systems score the same pairs of items: why one threshold, or one list, may not serve both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import SettingsError, SpaceError
from bict.evaluation.compatibility import Score
from bict.evaluation.items import require_same_items
from bict.evaluation.ranking import class_codes, own_rows
from bict.evaluation.similarity import Similarity

Int = NDArray[np.int64]

BLOCK = 2**20
"""Numbers in a working array: pairs are scored so many coordinates at a time."""


@dataclass(frozen=True)
class ScoreGap:
    """Kolmogorov-Smirnov statistics between two systems' similarities: 0 is one distribution, 1 no overlap.

    Attributes:
        same_class: over pairs with one label.
        different_class: over pairs with two labels.
    """

    same_class: Score
    different_class: Score


def score_gap(
    first: tuple[Embeddings, Embeddings],
    second: tuple[Embeddings, Embeddings],
    *,
    pairs: int = 100_000,
    seed: int = 0,
) -> ScoreGap:
    """Largest gap between the cumulative distributions of two systems' similarities, `sup_s |F_1(s) - F_2(s)|`.

    The two-sample statistic of Kolmogorov and Smirnov, such as between new queries on a re-embedded gallery and the
    same queries on the old one: the larger, the more do the scores of one crowd out those of the other in a mixed
    gallery. Both systems are measured on the same pairs, which are all of them or, where there are more, drawn at
    random. Pairs of an item with itself are left out.

    Args:
        first: `(queries, dim)` and `(gallery, dim)` of a system, with labels.
        second: the same queries and the same gallery items, in the same order.
        pairs: most pairs to measure of either kind.
        seed: of the draw.

    Returns:
        Both statistics, undefined where there is no pair of that kind.

    Raises:
        SpaceError: a system's queries may not search its gallery, or the systems measure by different metrics.
        VectorError: an empty side, no labels, other ids or labels, or another order of them.
        SettingsError: pairs is below 1.
    """
    if pairs < 1:
        raise SettingsError(f"found pairs={pairs}, expected at least 1")
    _require_one_unit(*(Similarity.between(query.space, gallery.space) for query, gallery in (first, second)))
    for place, side in enumerate(("queries", "gallery")):
        require_same_items(first[place], second[place], f"first and second {side}")
    own = own_rows(*first, exclude_self=True)
    gaps = []
    for same_class in (True, False):
        query, gallery = _sample(*first, same_class, pairs, seed)
        kept = own[query] != gallery
        gaps.append(_gap(_scores(*first, query[kept], gallery[kept]), _scores(*second, query[kept], gallery[kept])))
    return ScoreGap(*gaps)


def _require_one_unit(first: Similarity, second: Similarity) -> None:
    """Refuse similarities of different units; unit vectors in L2 are scored by the dot product, others are not."""
    if first.metric != second.metric or (first.metric == "l2" and first.unit != second.unit):
        names = " and ".join(f"{s.metric} of {'unit' if s.unit else 'other'} vectors" for s in (first, second))
        raise SpaceError(f"found {names}: scores in different units have no gap, so compare systems of one metric")


def _sample(query: Embeddings, gallery: Embeddings, same_class: bool, pairs: int, seed: int) -> tuple[Int, Int]:
    """Query and gallery row `(pairs,)` of all pairs of one kind, or of `pairs` of them drawn without replacement.

    Sorted by class, the rows of a query's class are one run `start:stop`, and all others lie around it; so pair
    number n of a query is found without a list of its pairs.
    """
    wanted, classes = class_codes(query, gallery)
    by_class = np.argsort(classes, kind="stable")
    start, stop = (np.searchsorted(classes[by_class], wanted, side) for side in ("left", "right"))
    run = stop - start
    ends = np.cumsum(run if same_class else len(gallery) - run)
    total = int(ends[-1])
    if total <= pairs:
        numbers = np.arange(total)
    else:
        numbers = np.sort(np.random.default_rng(seed).choice(total, pairs, replace=False))
    of = np.searchsorted(ends, numbers, "right")
    place = numbers - np.concatenate([[0], ends])[of]
    place += start[of] if same_class else np.where(place >= start[of], run[of], 0)
    return of, by_class[place]


def _scores(query: Embeddings, gallery: Embeddings, of: Int, row: Int) -> NDArray[np.float32]:
    """Similarities `(pairs,)` of queries `of` and gallery rows `row`."""
    similarity = Similarity.between(query.space, gallery.space)
    size = max(1, BLOCK // query.space.dim)
    blocks = [slice(start, start + size) for start in range(0, len(of), size)]
    scores = [
        similarity.pairs(
            similarity.coordinates(query.vectors[of[block]]), similarity.coordinates(gallery.vectors[row[block]])
        )
        for block in blocks
    ]
    return np.concatenate([np.empty(0, np.float32), *scores])


def _gap(first: NDArray[np.float32], second: NDArray[np.float32]) -> Score:
    """The statistic alone: the p-value, which supposes independent pairs, is not asked for."""
    if not len(first):
        return Score(math.nan, "there is no such pair")
    steps = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(scores), steps, "right") / len(scores) for scores in (first, second)]
    return Score(float(np.abs(below[0] - below[1]).max()))
