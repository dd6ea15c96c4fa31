"""Numbers with their intervals: one bootstrap, shared by all systems that are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from bict.reports.assessment import Estimate

Float = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95


class Bootstrap:
    """Percentile bootstrap of means over queries (Efron, 1979), resampling whole groups of them.

    Queries of one class succeed and fail together, so where there are classes they are what is drawn again: the
    interval is that of new classes, not of new photos of these. The draws are made once, so that every difference is
    paired. Few groups vary less than those they stand for: intervals are widened by the quantile of Student's t in the
    place of the normal one, and by the root of n / (n - 1): by a factor of 9 for two groups, of 1.05 for forty.

    Attributes:
        weights: `(resamples, groups)`, how often each group was drawn.
        groups: `(queries,)` group numbers.
    """

    def __init__(self, groups: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.groups = groups
        number = int(groups.max()) + 1
        rng = np.random.default_rng(seed)
        self.weights = rng.multinomial(number, np.full(number, 1 / number), size=resamples).astype(np.float64)

    def mean(self, values: Float) -> Estimate:
        """Of `(queries,)` scores; a query whose score is NaN is left out."""
        return self.ratio(values, np.ones_like(values))

    def ratio(self, first: Float, second: Float) -> Estimate:
        """Mean of the first over mean of the second `(queries,)`; NaN where the mean of the second is not above 0.

        The interval is NaN where there is one group, or where the second's mean may well be 0.
        """
        known = ~np.isnan(first + second)
        tops, bottoms = (np.bincount(self.groups, np.where(known, part, 0)) for part in (first, second))
        if not known.any() or bottoms.sum() <= 0:
            return Estimate(value=np.nan, interval=(np.nan, np.nan))
        above, below = self.weights @ tops, self.weights @ bottoms
        value = float(tops.sum() / bottoms.sum())
        groups = len(np.unique(self.groups[known]))
        if groups < 2 or np.mean(below <= 0) > (1 - LEVEL) / 2:  # one class, or a divisor that may well be nothing
            return Estimate(value=value, interval=(np.nan, np.nan))
        low, high = np.quantile(above[below > 0] / below[below > 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        wider = student.ppf((1 + LEVEL) / 2, groups - 1) / norm.ppf((1 + LEVEL) / 2) * np.sqrt(groups / (groups - 1))
        return Estimate(value=value, interval=(value - wider * (value - low), value + wider * (high - value)))
