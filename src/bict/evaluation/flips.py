"""Queries that an upgrade breaks or repairs, behind an average that rises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.errors import DataError


@dataclass(frozen=True)
class Flips:
    """Shares of the queries whose answer changed, in 0 to 1.

    Attributes:
        negative: right with the old system, wrong with the new one.
        positive: wrong with the old system, right with the new one.
        relative_negative: `negative` over that of two independent systems of the same accuracies; NaN if undefined.
        reason: why `relative_negative` is undefined, else empty.
    """

    negative: float
    positive: float
    relative_negative: float
    reason: str = ""


def flip_rates(old_correct: NDArray[Any], new_correct: NDArray[Any]) -> Flips:
    """Negative and positive flips between two systems on the same queries.

    `NFR = mean 1[old right and new wrong]` and `relative = NFR / (accuracy_old * error_new)` (Yan et al.,
    "Positive-Congruent Training", CVPR 2021, arXiv 2011.09161). In retrieval a query is right when its first row is
    relevant: `recall_at(ranks, 1)`.

    Args:
        old_correct: `(queries,)` of 0 and 1; NaN in either leaves the query out of both.
        new_correct: `(queries,)` of 0 and 1, the same queries in the same order.

    Raises:
        DataError: unequal lengths, values other than 0 and 1, or no query left.
    """
    old, new = np.asarray(old_correct, np.float64), np.asarray(new_correct, np.float64)
    if old.shape != new.shape or old.ndim != 1:
        raise DataError(f"found answers of shape {old.shape} and {new.shape}, expected one for each query, in both")
    both = ~(np.isnan(old) | np.isnan(new))
    old, new = old[both], new[both]
    if not len(old):
        raise DataError("no query has an answer in both systems: there are no flips to count")
    if not np.isin([old, new], (0, 1)).all():
        raise DataError("answers must be 0 (wrong) or 1 (right): compare a score with a threshold first")
    negative, positive = float(np.mean(old > new)), float(np.mean(new > old))
    chance = float(old.mean() * (1 - new.mean()))
    if chance > 0:
        return Flips(negative, positive, negative / chance)
    why = "the old system is never right" if not old.any() else "the new system is never wrong"
    return Flips(negative, positive, float("nan"), f"{why}, so no negative flip is possible")
