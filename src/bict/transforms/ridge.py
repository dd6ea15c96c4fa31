"""An affine map by ridge regression, its penalty chosen on held-out images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bict.errors import SettingsError
from bict.progress import Progress, silent
from bict.transforms.gram import Gram, gram
from bict.transforms.holdout import held_out_classes, held_out_images
from bict.transforms.rung import Pairs

PENALTIES = tuple(10.0 ** (power / 2) for power in range(-12, 5))
CLASSES_TO_HOLD_OUT = 10
ENOUGH_HELD_OUT = 4000
"""Held-out images that tell penalties apart; of more, so many are drawn."""
Score = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""Of a map on held-out images, from its weight and bias."""


@dataclass(eq=False)
class Ridge:
    """psi(x) = x W + b with W = (X'X + alpha I)^-1 X'Y over centred old X and new Y (Hoerl and Kennard, 1970).

    Attributes:
        penalties: the grid of alpha, in units of the mean eigenvalue of X'X, so it means the same for any number of
            pairs and any length of vector.
        held_out: part of the images on which the penalty is chosen, by cos(psi(old), new) of their plain view; whole
            classes where the labels name ten or more.
        seed: of that split.
        weight_: `(old_dim, new_dim)`.
        bias_: `(new_dim,)`.
        alpha_: the chosen penalty, in absolute units.

    Raises:
        SettingsError: no penalties, or one that is not above 0.
    """

    name: ClassVar[str] = "ridge"
    penalties: tuple[float, ...] = PENALTIES
    held_out: float = 0.2
    seed: int = 0
    weight_: NDArray[np.float32] = field(init=False, repr=False)
    bias_: NDArray[np.float32] = field(init=False, repr=False)
    alpha_: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.penalties or not all(penalty > 0 for penalty in self.penalties):
            raise SettingsError(f"{self.name} needs one or more penalties above 0, found {list(self.penalties)}")

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Choose the penalty on held-out images, then solve once more over all pairs.

        Raises:
            TransformError: there are fewer than two images.
        """
        held = self._hold_out(pairs)
        kept_gram, held_pairs = gram(*pairs.take(~held).flat()), pairs.take(held)
        penalty = self._choose(kept_gram, held_pairs)
        whole = kept_gram + gram(*held_pairs.flat())
        path = RidgePath(whole)
        self.alpha_ = penalty * path.unit
        weight, bias = self._solve(path, penalty)
        self.weight_, self.bias_ = weight.astype(np.float32), bias.astype(np.float32)
        return self

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)` to `(rows, new_dim)`."""
        return np.ascontiguousarray(old, np.float32) @ self.weight_ + self.bias_

    def state(self) -> dict[str, NDArray[Any]]:
        """`weight`, `bias` and `alpha`, `(1,)`."""
        return {"weight": self.weight_, "bias": self.bias_, "alpha": np.array([self.alpha_])}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted affine map."""
        rung = cls(**settings)
        rung.weight_, rung.bias_, rung.alpha_ = state["weight"], state["bias"], float(state["alpha"][0])
        return rung

    def settings(self) -> dict[str, Any]:
        """Grid, held-out share and seed."""
        return {"penalties": list(self.penalties), "held_out": self.held_out, "seed": self.seed}

    def _hold_out(self, pairs: Pairs) -> NDArray[np.bool_]:
        if pairs.labels is not None:
            counts = np.unique(pairs.labels, return_counts=True)[1]
            if (counts >= 2).sum() >= CLASSES_TO_HOLD_OUT:
                return np.isin(pairs.labels, held_out_classes(pairs.labels, self.held_out, seed=self.seed))
        return held_out_images(pairs.images, self.held_out, seed=self.seed)

    def _solve(self, path: RidgePath, penalty: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weight = path.weight(penalty)
        return weight, path.bias(weight)

    def _choose(self, kept: Gram, held: Pairs) -> float:
        path = RidgePath(kept)
        if held.images > ENOUGH_HELD_OUT:
            held = held.take(np.sort(np.random.default_rng(self.seed).permutation(held.images)[:ENOUGH_HELD_OUT]))
        old, new = held.old[0].astype(np.float64), held.new[0].astype(np.float64)
        return self._best(path, lambda weight, bias: _mean_cosine(old @ weight + bias, new))

    def _best(self, path: RidgePath, score: Score) -> float:
        """The penalty whose map has the highest score."""
        scores = [score(*self._solve(path, penalty)) for penalty in self.penalties]
        return self.penalties[int(np.argmax(scores))]


def _mean_cosine(mapped: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    lengths = np.linalg.norm(mapped, axis=1) * np.linalg.norm(new, axis=1)
    return float(np.mean(np.sum(mapped * new, axis=1) / np.maximum(lengths, np.finfo(float).tiny)))


class RidgePath:
    """The ridge solutions over one set of pairs: one eigendecomposition, then a product for each penalty.

    Attributes:
        unit: mean eigenvalue of X'X over centred old X, in which penalties are given.
        cross: X'Y over centred old X and new Y, `(old_dim, new_dim)`.
    """

    def __init__(self, sums: Gram) -> None:
        old_old, self.cross = sums.centred()
        values, self._vectors = np.linalg.eigh(old_old)
        self._values = np.maximum(values, 0)
        floor = np.finfo(np.float64).eps * float(np.trace(sums.old_old)) / len(values)
        self.unit = max(float(self._values.mean()), floor)
        self._projected = self._vectors.T @ self.cross
        self._old_mean, self._new_mean = sums.old / sums.count, sums.new / sums.count

    def weight(self, penalty: float) -> NDArray[np.float64]:
        """(X'X + penalty * unit * I)^-1 X'Y, `(old_dim, new_dim)`."""
        shrunk = self._projected / (self._values + penalty * self.unit)[:, None]
        return np.asarray(self._vectors @ shrunk, np.float64)

    def bias(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """What takes the mean old vector to the mean new one under the weight, `(new_dim,)`."""
        return self._new_mean - self._old_mean @ weight
