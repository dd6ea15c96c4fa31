"""An affine map through a narrow middle: ridge regression of reduced rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bict.errors import TransformError
from bict.progress import Progress, silent
from bict.transforms.ridge import Ridge, RidgePath, Score
from bict.transforms.rung import Pairs, require_at_least


@dataclass(eq=False)
class LowRank(Ridge):
    """psi(x) = x W V V' + b: W of `Ridge`, V the first `rank` eigenvectors of W' X'Y, over centred old X and new Y.

    Of all maps of this rank, the one with the smallest ||Y - X B||^2 + alpha ||B||^2 (Mukherjee and Zhu, "Reduced rank
    ridge regression and its kernel extensions", 2011). Vejendla, "Drift-Adapter: A Practical Approach to Near
    Zero-Downtime Embedding Model Upgrades in Vector Databases", EMNLP 2025, fits the same form, U V' x + t, by
    gradient descent with a fixed rank of 64. A fixed rank throws away more the larger the vectors are: in a public
    re-run of that paper at 384 dimensions (rebasis, AG News), rank 64 kept .22 of the neighbours and rank 192 .45. So
    the default is half of the smaller dimension. The map is kept as one matrix: two factors hold as many numbers.

    Attributes:
        penalties: the grid of alpha, as in `Ridge`; chosen for the map of reduced rank, next to that of the full one.
        held_out: part of the images on which the penalty is chosen, as in `Ridge`.
        seed: of that split.
        rank: at most the smaller dimension; None for half of it, rounded up.
        weight_: `(old_dim, new_dim)`, of this rank.
        bias_: `(new_dim,)`.
        alpha_: the chosen penalty, in absolute units.

    Raises:
        SettingsError: no penalties, one that is not above 0, or a rank below 1.
    """

    name: ClassVar[str] = "low-rank"
    rank: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, {"rank": 1})

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Choose the penalty on held-out images, then solve once more over all pairs.

        Raises:
            TransformError: there are fewer than two images, or the rank is above the smaller dimension.
        """
        smaller = min(pairs.old.shape[2], pairs.new.shape[2])
        if self.rank is not None and self.rank > smaller:
            raise TransformError(f"rank {self.rank} is above the smaller dimension, {smaller}: lower it, or take ridge")
        return super().fit(pairs, progress=progress)

    def settings(self) -> dict[str, Any]:
        """Grid, held-out share, seed and rank."""
        return {**super().settings(), "rank": self.rank}

    def _best(self, path: RidgePath, score: Score) -> float:
        """The penalty of the full map, or where the cut map climbs from there: each try costs an eigendecomposition."""
        ordered = sorted(self.penalties)
        full = [score(weight, path.bias(weight)) for weight in map(path.weight, ordered)]
        cut: dict[int, float] = {}

        def height(place: int) -> float:
            if place not in cut:
                inside = 0 <= place < len(ordered)
                cut[place] = score(*self._solve(path, ordered[place])) if inside else -np.inf
            return cut[place]

        place = int(np.argmax(full))
        while (better := max((place, place - 1, place + 1), key=height)) != place:
            place = better
        return ordered[place]

    def _solve(self, path: RidgePath, penalty: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        full = path.weight(penalty)
        rank = self.rank or (min(full.shape) + 1) // 2
        explained = full.T @ path.cross
        directions = np.linalg.eigh((explained + explained.T) / 2)[1][:, -rank:]
        weight = full @ directions @ directions.T
        return weight, path.bias(weight)
