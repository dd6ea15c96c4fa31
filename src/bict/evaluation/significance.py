"""How far a mean over queries can be trusted: the bootstrap over queries (Efron, 1979)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bict.errors import DataError, SettingsError, UnknownName

BLOCK = 2**20
"""Values drawn at a time, so that memory does not grow with queries times resamples."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference of two systems on the same queries.

    Attributes:
        mean: mean of first minus second, in units of the score.
        low: lower end of the interval.
        high: upper end of the interval.
        p_value: two-sided; how often chance alone would give a difference at least as large.
    """

    mean: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    per_query: NDArray[np.float64], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over queries.

    Args:
        per_query: `(queries,)` scores; NaN is left out.
        level: share of the resampled means inside the interval.
        resamples: times the queries are drawn again, with replacement.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        DataError: no query is left.
        SettingsError: a level outside 0 to 1, or no resamples.
    """
    return _interval(_resampled_means(per_query[~np.isnan(per_query)], resamples, seed), level)


def paired_bootstrap(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Interval and p-value of the mean difference, first minus second, of two systems on the same queries.

    The p-value moves the resampled means `d*` to a true difference of 0 and counts how many are as far out as the
    observed `d`: `(1 + #{|d* - d| >= |d|}) / (1 + resamples)` (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 16).

    Args:
        first: `(queries,)` scores; NaN in either leaves the query out of both.
        second: `(queries,)` scores of the same queries in the same order.
        level: share of the resampled differences inside the interval.
        resamples: times the queries are drawn again, with replacement.
        seed: of the draws.

    Raises:
        DataError: unequal lengths, or no query left.
        SettingsError: a level outside 0 to 1, or no resamples.
    """
    if first.shape != second.shape:
        raise DataError(f"found scores of shape {first.shape} and {second.shape}, expected the same queries in both")
    difference = first - second
    difference = difference[~np.isnan(difference)]
    means = _resampled_means(difference, resamples, seed)
    observed = float(difference.mean())
    extreme = int((np.abs(means - observed) >= abs(observed)).sum())
    return PairedDifference(observed, *_interval(means, level), (1 + extreme) / (1 + resamples))


def significance_marks(
    per_query: dict[str, NDArray[np.float64]],
    reference: str,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, str]:
    """A mark for each row of a table of methods: "+" better than the reference, "-" worse, "" neither.

    Better is a paired bootstrap interval of the difference to the reference that lies above 0, worse one below it.
    Every method is tested by itself, without a correction for many comparisons: at level 0.95, of 20 methods that do
    not differ from the reference about one gets a mark by chance.

    Args:
        per_query: `(queries,)` scores of each method, of the same queries in the same order; NaN as in
            `paired_bootstrap`.
        reference: the method the others are compared with; its own mark is "".
        level: share of the resampled differences inside the interval.
        resamples: times the queries are drawn again, with replacement.
        seed: of the draws.

    Raises:
        UnknownName: the reference is none of the methods.
        DataError: unequal lengths, or no query left.
        SettingsError: a level outside 0 to 1, or no resamples.
    """
    if reference not in per_query:
        raise UnknownName("method", reference, per_query)
    base = per_query[reference]
    marks = {}
    for name, scores in per_query.items():
        difference = paired_bootstrap(scores, base, level=level, resamples=resamples, seed=seed)
        marks[name] = "+" if difference.low > 0 else "-" if difference.high < 0 else ""
    return marks


def _resampled_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """`(resamples,)` means of values drawn with replacement."""
    if not len(values):
        raise DataError("no query has a score: there is nothing to resample")
    if resamples < 1:
        raise SettingsError(f"found resamples={resamples}, expected at least 1")
    rng = np.random.default_rng(seed)
    size = max(1, BLOCK // len(values))
    sizes = [min(size, resamples - start) for start in range(0, resamples, size)]
    return np.concatenate([values[rng.integers(len(values), size=(rows, len(values)))].mean(axis=1) for rows in sizes])


def _interval(means: NDArray[np.float64], level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise SettingsError(f"found level={level}, expected a share between 0 and 1, such as 0.95")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
