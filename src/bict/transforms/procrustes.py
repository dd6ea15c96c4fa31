"""The best rotation: it moves the old space onto the new one and changes no distance inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from bict.progress import Progress, silent
from bict.transforms.gram import gram
from bict.transforms.rung import Pairs


@dataclass(eq=False)
class Procrustes:
    """psi(x) = x R with R = argmin ||old R - new||_F over orthogonal R: R = U V', where U S V' = old' new.

    Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966. Where the dimensions differ, the
    smaller side is padded with zeros, and the output is cut to `new_dim`: distances survive a step up in dimension,
    not a step down.

    Attributes:
        centred: take both sides' means away before the SVD, so that psi(x) = (x - mean_old) R + mean_new.
        rotation_: `(old_dim, new_dim)`.
        means_: those of the old `(old_dim,)` and the new vectors `(new_dim,)`, or None where not centred.
    """

    name: ClassVar[str] = "procrustes"
    centred: bool = False
    rotation_: NDArray[np.float32] = field(init=False, repr=False)
    means_: tuple[NDArray[np.float32], NDArray[np.float32]] | None = field(init=False, repr=False)

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Learn `rotation_` and, where asked for, `means_`."""
        sums = gram(*pairs.flat())
        cross = sums.centred()[1] if self.centred else sums.old_new
        old_dim, new_dim = cross.shape
        size = max(old_dim, new_dim)
        padded = np.zeros((size, size))
        padded[:old_dim, :new_dim] = cross
        rotation, _ = orthogonal_procrustes(np.eye(size), padded)
        self.rotation_ = np.ascontiguousarray(rotation[:old_dim, :new_dim], np.float32)
        means = (sums.old / sums.count).astype(np.float32), (sums.new / sums.count).astype(np.float32)
        self.means_ = means if self.centred else None
        return self

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)` rotated to `(rows, new_dim)`."""
        old = np.ascontiguousarray(old, np.float32)
        if self.means_ is None:
            return old @ self.rotation_
        return np.asarray((old - self.means_[0]) @ self.rotation_ + self.means_[1], np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """`rotation`, `(old_dim, new_dim)`; where centred also `old_mean` and `new_mean`."""
        means = {} if self.means_ is None else {"old_mean": self.means_[0], "new_mean": self.means_[1]}
        return {"rotation": self.rotation_, **means}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted rotation; settings without `centred`, as they once were, mean that it is not."""
        rung = cls(**settings)
        rung.rotation_ = state["rotation"]
        rung.means_ = (state["old_mean"], state["new_mean"]) if rung.centred else None
        return rung

    def settings(self) -> dict[str, Any]:
        """Whether the means are taken away."""
        return {"centred": self.centred}
