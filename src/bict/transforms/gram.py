"""Sums over pairs that are all a linear map needs, so that no rung holds more than one chunk in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK = 16_384


@dataclass(frozen=True, eq=False)
class Gram:
    """Float64 sums over pairs; the sums of two sets of pairs add up to the sums of their union.

    Attributes:
        count: how many pairs.
        old: `(old_dim,)` sum of the old vectors.
        new: `(new_dim,)` sum of the new vectors.
        old_old: `(old_dim, old_dim)` sum of outer products.
        old_new: `(old_dim, new_dim)` sum of outer products.
    """

    count: int
    old: NDArray[np.float64]
    new: NDArray[np.float64]
    old_old: NDArray[np.float64]
    old_new: NDArray[np.float64]

    def __add__(self, other: Gram) -> Gram:
        return Gram(
            self.count + other.count,
            self.old + other.old,
            self.new + other.new,
            self.old_old + other.old_old,
            self.old_new + other.old_new,
        )

    def centred(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`old_old` and `old_new` of the same pairs with both means taken off."""
        mean = self.old / self.count
        return self.old_old - np.outer(mean, self.old), self.old_new - np.outer(mean, self.new)


def gram(old: NDArray[np.float32], new: NDArray[np.float32], *, chunk: int = CHUNK) -> Gram:
    """The sums over old `(rows, old_dim)` and new `(rows, new_dim)` vectors, `chunk` rows at a time."""
    old_dim, new_dim = old.shape[1], new.shape[1]
    total = Gram(0, np.zeros(old_dim), np.zeros(new_dim), np.zeros((old_dim, old_dim)), np.zeros((old_dim, new_dim)))
    for start in range(0, len(old), chunk):
        x, y = old[start : start + chunk].astype(np.float64), new[start : start + chunk].astype(np.float64)
        total = total + Gram(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y)
    return total
