"""The strict criterion: what share of single pairs of items an upgrade leaves in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bict.embeddings import Embeddings
from bict.errors import DataError
from bict.evaluation.items import require_same_items
from bict.evaluation.ranking import class_codes
from bict.evaluation.similarity import Similarity

TILE = 512
"""Items on either side of a block of pairs: all working arrays together stay below some 10 MiB for 512-d vectors."""


@dataclass(frozen=True)
class StrictCriterion:
    """Shares of the ordered pairs (i, j) of different items that satisfy the strict criterion, in 0 to 1.

    Attributes:
        same_class: of pairs with one label; NaN where there is no such pair.
        different_class: of pairs with two labels; NaN where there is no such pair.
        overall: of all pairs.
        same_class_pairs: number of pairs with one label.
        different_class_pairs: number of pairs with two labels.
    """

    same_class: float
    different_class: float
    overall: float
    same_class_pairs: int
    different_class_pairs: int


def strict_criterion(old: Embeddings, new: Embeddings) -> StrictCriterion:
    """How far new vectors keep to the strict criterion of compatibility with the old vectors of the same items.

    Same class: `d(new_i, old_j) <= d(old_i, old_j)`; different class: `d(new_i, old_j) >= d(old_i, old_j)`
    (definition 1 of BCT, Shen et al., "Towards Backward-Compatible Representation Learning", CVPR 2020, arXiv
    2003.11942). Exact over all `rows * (rows - 1)` ordered pairs, in bounded memory; an equal distance, in float32,
    satisfies both. The pairs i = j are left out: there `d(old_i, old_i)` is 0, so the definition taken to the letter
    would be met by nothing but a copy of the old vectors, and no item is its own search result.

    Args:
        old: `(rows, dim)` with labels.
        new: `(rows, dim)`, the same items in the same order.

    Raises:
        SpaceError: the new space declares no compatibility with the old one.
        VectorError: other ids or labels, another order of them, or no labels.
        DataError: fewer than two items.
    """
    similarity = Similarity.between(new.space, old.space)
    require_same_items(old, new, "old and new vectors")
    if len(old) < 2:
        raise DataError(f"found {len(old)} items, expected at least 2: the criterion is about pairs")
    classes, _ = class_codes(old, old)
    items = np.arange(len(old))
    counts = np.zeros((2, 2), np.int64)  # same class, different class; pairs, satisfied pairs
    for rows in _tiles(len(old)):
        new_i, old_i = similarity.coordinates(new.vectors[rows]), similarity.coordinates(old.vectors[rows])
        for columns in _tiles(len(old)):
            old_j = similarity.coordinates(old.vectors[columns])
            cross, own = similarity.table(new_i, old_j), similarity.table(old_i, old_j)
            same = classes[rows, None] == classes[None, columns]
            different_item = items[rows, None] != items[None, columns]
            for group, (members, kept) in enumerate(((same & different_item, cross >= own), (~same, cross <= own))):
                counts[group] += members.sum(), (members & kept).sum()
    return _shares(counts.tolist())


def _tiles(rows: int) -> Iterator[slice]:
    return (slice(start, min(start + TILE, rows)) for start in range(0, rows, TILE))


def _shares(counts: list[list[int]]) -> StrictCriterion:
    (same, same_kept), (different, different_kept) = counts
    return StrictCriterion(
        same_class=same_kept / same if same else float("nan"),
        different_class=different_kept / different if different else float("nan"),
        overall=(same_kept + different_kept) / (same + different),
        same_class_pairs=same,
        different_class_pairs=different,
    )
