"""Which pairs are fitted on, which choose between the fits, and which judge the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bict.errors import DataError

Int = NDArray[np.int64]

SHARES = (0.60, 0.15, 0.25)
"""Of the classes, or of the rows: to fit on, to choose by, to judge by."""
LEAST_ROWS = 20
LEAST_CLASSES = 10
"""With two rows or more: of ten, two choose and two judge; one class alone would be found whatever is asked."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Three parts of the pairs that share no row, and no class where they are split by class.

    Attributes:
        fit: `(rows,)` ascending row numbers that transforms are fitted on.
        choose: `(rows,)` those that decide between them.
        judge: `(rows,)` those that are reported, touched by no fit and no choice.
        by: "class" where every class lies in one part, so that judged classes are new to every fit; else "row".
    """

    fit: Int
    choose: Int
    judge: Int
    by: Literal["class", "row"]


def split_parts(labels: NDArray[Any] | None, rows: int, *, seed: int) -> Parts:
    """60 % of the classes to fit on, 15 % to choose by and 25 % to judge by; rows where ten classes cannot be told.

    A class counts among the ten if it has two rows or more. Those are dealt out apart from the classes of one row, so
    that choosing and judging have queries that can be answered. The draw depends on the names of the classes and on the
    seed, and where there are classes not on the order of the rows.

    Args:
        labels: `(rows,)` class names, or None.
        rows: how many pairs there are.
        seed: of the draw.

    Raises:
        DataError: fewer than 20 pairs.
    """
    if rows < LEAST_ROWS:
        raise DataError(f"found {rows} pairs, expected at least {LEAST_ROWS} to fit, choose and judge: pass more pairs")
    rng = np.random.default_rng(seed)
    if labels is not None:
        _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if (counts >= 2).sum() >= LEAST_CLASSES:
            part = np.empty(len(counts), np.int64)
            for group in (counts >= 2, counts == 1):
                part[group] = rng.permutation(_deal(int(group.sum())))
            return _parts(part[codes], "class")
    return _parts(rng.permutation(_deal(rows)), "row")


def _deal(number: int) -> Int:
    """`(number,)` part numbers in the shares, sorted."""
    _, choose, judge = (round(share * number) for share in SHARES)
    return np.repeat(np.arange(3), (number - choose - judge, choose, judge))


def _parts(part: Int, by: Literal["class", "row"]) -> Parts:
    fit, choose, judge = (np.flatnonzero(part == number) for number in range(3))
    return Parts(fit, choose, judge, by)
