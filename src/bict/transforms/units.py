"""The coordinates in which a network is trained, so that step sizes fit vectors of any length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Units:
    """Coordinates of one side of the pairs: (vector - mean) / scale.

    Attributes:
        mean: `(dim,)`, the origin.
        scale: length of one unit, above 0.
    """

    mean: Tensor
    scale: float

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> Units:
        """Those in which `(rows, dim)` have mean zero and a mean square component of one."""
        mean = rows.mean(axis=0, dtype=np.float64)
        spread = math.sqrt(float(np.mean(np.square(rows - mean.astype(np.float32)), dtype=np.float64)))
        return cls(torch.tensor(mean, dtype=torch.float32), spread or 1.0)

    @classmethod
    def around_zero(cls, rows: NDArray[np.float32]) -> Units:
        """Those that keep the directions of `(rows, dim)` and give them a mean square component of one."""
        length = math.sqrt(float(np.mean(np.square(rows), dtype=np.float64)))
        return cls(torch.zeros(rows.shape[1]), length)

    def enter(self, rows: Tensor) -> Tensor:
        """Raw vectors `(rows, dim)` in these coordinates."""
        return (rows - self.mean) / self.scale

    def leave(self, rows: Tensor) -> Tensor:
        """Vectors `(rows, dim)` of these coordinates as raw ones."""
        return rows * self.scale + self.mean
