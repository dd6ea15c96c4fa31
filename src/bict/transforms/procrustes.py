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
    """

    name: ClassVar[str] = "procrustes"
    rotation_: NDArray[np.float32] = field(init=False, repr=False)

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Learn `rotation_`, `(old_dim, new_dim)`."""
        cross = gram(*pairs.flat()).old_new
        old_dim, new_dim = cross.shape
        size = max(old_dim, new_dim)
        padded = np.zeros((size, size))
        padded[:old_dim, :new_dim] = cross
        rotation, _ = orthogonal_procrustes(np.eye(size), padded)
        self.rotation_ = np.ascontiguousarray(rotation[:old_dim, :new_dim], np.float32)
        return self

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)` rotated to `(rows, new_dim)`."""
        return np.ascontiguousarray(old, np.float32) @ self.rotation_

    def state(self) -> dict[str, NDArray[Any]]:
        """`rotation`, `(old_dim, new_dim)`."""
        return {"rotation": self.rotation_}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted rotation."""
        rung = cls(**settings)
        rung.rotation_ = state["rotation"]
        return rung

    def settings(self) -> dict[str, Any]:
        """No hyperparameters."""
        return {}
