"""Partial backfill: which rows are re-embedded first, the gallery that is then searched, and the curve of its scores.

`r` is the share of the gallery that is re-embedded, 0 to 1. A criterion that holds at r = 0 says nothing of the ratios
between: there vectors of two origins are merged in one list, and the curve may fall before it rises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import DataError, SettingsError
from bict.evaluation.items import check_mask, require_same_items
from bict.evaluation.ranking import class_codes
from bict.spaces import compare

Int = NDArray[np.int64]

BACKFILL_RATIOS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The ratios of AdvBCT (Pan et al., CVPR 2023, arXiv 2305.02610)."""
WHOLE = 1e-9
"""Rounding error that `ratio * rows` may have above a whole number of rows."""


@dataclass(frozen=True)
class BackfillCurve:
    """Scores of one query set along a backfill.

    Attributes:
        ratios: shares of the gallery that are re-embedded, rising from 0 to 1.
        scores: one for each ratio, such as a mAP.

    Raises:
        DataError: not one finite score for each ratio, or ratios that do not rise from 0 to 1.
    """

    ratios: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.ratios, self.ratios[1:], strict=False))
        if len(self.ratios) < 2 or not rising or (self.ratios[0], self.ratios[-1]) != (0, 1):
            raise DataError(f"found ratios {self.ratios}, expected them to rise from 0 to 1")
        if len(self.scores) != len(self.ratios) or not all(map(math.isfinite, self.scores)):
            raise DataError(f"found scores {self.scores}, expected a finite number for each ratio {self.ratios}")

    @property
    def area(self) -> float:
        """Area under the curve by trapezoids, in units of the score: the mean score over an even backfill.

        The summary of FastFill (Jaeckle et al., "FastFill: Efficient Compatible Model Update", ICLR 2023, arXiv
        2303.04766).
        """
        return float(np.sum(np.diff(self.ratios) * (np.add(self.scores[1:], self.scores[:-1]) / 2)))

    @property
    def worst(self) -> tuple[float, float]:
        """The ratio with the lowest score, the first of equals, and that score: `min_r M(r)`."""
        place = int(np.argmin(self.scores))
        return self.ratios[place], self.scores[place]

    @property
    def monotone(self) -> bool:
        """Whether no step of the backfill lowers the score."""
        return bool((np.diff(self.scores) >= 0).all())


def random_order(rows: int, *, seed: int = 0) -> Int:
    """Gallery rows `(rows,)` in the order of their backfill, drawn at random.

    AdvBCT (Pan et al., CVPR 2023, arXiv 2305.02610) draws one order, with seed 100.
    """
    return np.random.default_rng(seed).permutation(rows)


def uncertain_first(uncertainties: NDArray[np.float64]) -> Int:
    """Gallery rows `(rows,)` by falling uncertainty, equal ones by row: the order of FastFill (ICLR 2023).

    Args:
        uncertainties: `(rows,)`, such as the variance predicted by the forward transform, in any unit.

    Raises:
        DataError: another shape, or a NaN.
    """
    uncertainties = np.asarray(uncertainties, np.float64)
    if uncertainties.ndim != 1 or np.isnan(uncertainties).any():
        raise DataError(f"found uncertainties of shape {uncertainties.shape}, expected a number for each row, no NaN")
    return np.argsort(-uncertainties, kind="stable")


def farthest_first(stored: Embeddings) -> Int:
    """Gallery rows `(rows,)` by falling distance to the mean of their class, equal ones by row.

    `||g_i - mean of the stored vectors with the label of i||`, in L2 (the order of Ricci et al., "lambda-Orthogonality
    Regularization for Compatible Representation Learning", NeurIPS 2025, arXiv 2509.16664).

    Args:
        stored: `(rows, dim)` with labels; upgraded vectors where the gallery was upgraded.

    Raises:
        VectorError: no labels.
    """
    _, classes = class_codes(stored, stored)
    sums = np.zeros((int(classes.max(initial=-1)) + 1, stored.space.dim))
    np.add.at(sums, classes, stored.vectors)
    means = sums / np.bincount(classes)[:, None]
    return uncertain_first(np.linalg.norm(stored.vectors - means[classes], axis=1))


def backfilled_rows(order: Int, ratio: float) -> NDArray[np.bool_]:
    """Whether each gallery row is re-embedded at a ratio, `(rows,)`: where its place in the order is below `r * rows`.

    Args:
        order: `(rows,)` gallery rows, the first to be re-embedded first.
        ratio: share of the rows, 0 to 1; a part of a row counts as a row.

    Raises:
        DataError: the order does not name every row once.
        SettingsError: a ratio outside 0 to 1.
    """
    order = np.asarray(order)
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(len(order))):
        raise DataError(f"found an order of shape {order.shape}, expected each row number from 0 once")
    if not 0 <= ratio <= 1:
        raise SettingsError(f"found ratio={ratio}, expected a share between 0 and 1")
    mask = np.zeros(len(order), np.bool_)
    mask[order[: math.ceil(ratio * len(order) - WHOLE)]] = True
    return mask


def mixed_gallery(stored: Embeddings, reembedded: Embeddings, backfilled: NDArray[np.bool_]) -> Embeddings:
    """The gallery during a backfill, `where(backfilled, re-embedded, stored)`, in the space of the re-embedded vectors.

    Args:
        stored: `(rows, dim)` upgraded vectors, or old vectors with which the re-embedded ones' space declares
            compatibility. Only queries of the re-embedded vectors' space may search the result.
        reembedded: `(rows, dim)` of the same items in the same order.
        backfilled: `(rows,)`.

    Raises:
        SpaceError: queries of the re-embedded vectors' space may not search the stored ones.
        VectorError: other ids or labels, another order of them, or a mask of another shape.
    """
    compare(reembedded.space, stored.space)
    require_same_items(stored, reembedded, "stored and re-embedded gallery")
    mask = check_mask(backfilled, len(stored))[:, None]
    vectors = np.where(mask, reembedded.vectors, stored.vectors)
    return Embeddings(stored.ids, vectors, reembedded.space, stored.labels)
