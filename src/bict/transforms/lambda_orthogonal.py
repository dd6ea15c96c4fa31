"""An affine map that may leave the rotations, but not by far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bict.progress import Progress, silent
from bict.transforms.descent import descend
from bict.transforms.gram import Gram, gram
from bict.transforms.procrustes import Procrustes
from bict.transforms.rung import Pairs, require_at_least

PAPER_LAM, PAPER_DIM = 12.0, 512


@dataclass(eq=False)
class LambdaOrthogonal:
    """psi(x) = x W + b; loss: mean |psi(old) - new|^2 + `weight` * sigma(`steepness` * (g - `lam`)) * g.

    g = ||W W' - I||_F is free of charge below `lam` and costs its own size above, sigma being the logistic function
    (Ricci et al., "λ-Orthogonality Regularization for Compatible Representation Learning", NeurIPS 2025, arXiv
    2509.16664, which found `lam` = 12 best and trained with Adam at 1e-3; we take its 12 for 512 dimensions and scale
    it with the root of the dimension, as g scales). The map is the paper's; its terms on labels are left out.

    Where the sides differ in dimension, I is that of the smaller one (W'W for a step down), the larger having no
    orthogonal W. Lengths are in units of the root mean square length of either side, which is 1 for unit vectors: W is
    orthogonal up to their ratio. Starts at the centred `Procrustes` map. Both terms need no more than sums over the
    pairs, so every step sees all pairs and nothing is drawn.

    Attributes:
        lam: how far from orthogonal W may be; None for 12 * sqrt(d / 512), d the smaller dimension.
        weight: of the term.
        steepness: of the step at `lam`; ours.
        lr: first step size of Adam; it falls along a half cosine.
        steps: of Adam.
        weight_: `(old_dim, new_dim)`.
        bias_: `(new_dim,)`.
        losses_: of each step.

    Raises:
        SettingsError: a setting below 0.
    """

    name: ClassVar[str] = "lambda-orthogonal"
    lam: float | None = None
    weight: float = 1.0
    steepness: float = 10.0
    lr: float = 1e-3
    steps: int = 1000
    weight_: NDArray[np.float32] = field(init=False, repr=False)
    bias_: NDArray[np.float32] = field(init=False, repr=False)
    losses_: list[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_at_least(self, dict.fromkeys(("lam", "weight", "steepness", "steps"), 0))

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Learn `weight_` and `bias_`; `progress` is told of every step.

        Raises:
            TransformError: a loss that is not finite.
        """
        sides = pairs.flat()
        sums, start = gram(*sides), Procrustes(centred=True).fit(pairs).rotation_
        lengths = _length(sides[0]), _length(sides[1])
        with torch.inference_mode(False), torch.enable_grad():
            weight = torch.tensor(start, dtype=torch.float64, requires_grad=True)
            distance = _SquaredDistance(sums, *lengths)
            self.losses_ = descend(
                self.name,
                lambda _index, _done: distance(weight) + self.weight * self._penalty(weight),
                1,
                torch.optim.Adam([weight], lr=self.lr),
                epochs=self.steps,
                batch=1,
                generator=torch.Generator(),
                progress=progress,
            )
            raw = weight.detach().numpy() * (lengths[1] / lengths[0])
        self.weight_ = raw.astype(np.float32)
        self.bias_ = ((sums.new - sums.old @ raw) / sums.count).astype(np.float32)
        return self

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)` to `(rows, new_dim)`."""
        return np.ascontiguousarray(old, np.float32) @ self.weight_ + self.bias_

    def state(self) -> dict[str, NDArray[Any]]:
        """`weight` and `bias`."""
        return {"weight": self.weight_, "bias": self.bias_}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted affine map; `losses_` is not kept."""
        rung = cls(**settings)
        rung.weight_, rung.bias_ = state["weight"], state["bias"]
        return rung

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter of the constructor."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    def _penalty(self, weight: Tensor) -> Tensor:
        lam = PAPER_LAM * math.sqrt(min(weight.shape) / PAPER_DIM) if self.lam is None else self.lam
        far = departure(weight)
        return torch.sigmoid(self.steepness * (far - lam)) * far


def departure(weight: Tensor) -> Tensor:
    """||W W' - I||_F of `(old_dim, new_dim)`, or of W'W where that is the smaller matrix; 0 for a rotation."""
    products = weight.T @ weight if weight.shape[0] > weight.shape[1] else weight @ weight.T
    length: Tensor = torch.linalg.matrix_norm(products - torch.eye(len(products), dtype=weight.dtype))
    return length


class _SquaredDistance:
    """Mean of |x W + b - y|^2 over all pairs as a function of W, with the best b for it, from sums over the pairs."""

    def __init__(self, sums: Gram, old_length: float, new_length: float) -> None:
        old_old, old_new = sums.centred()
        self.old_old = torch.tensor(old_old / (sums.count * old_length**2))
        self.old_new = torch.tensor(old_new / (sums.count * old_length * new_length))
        self.new_new = 1 - float(np.sum(np.square(sums.new / sums.count))) / new_length**2

    def __call__(self, weight: Tensor) -> Tensor:
        return (weight * (self.old_old @ weight - 2 * self.old_new)).sum() + self.new_new


def _length(rows: NDArray[np.float32]) -> float:
    """Root mean square length of `(rows, dim)`."""
    return math.sqrt(float(np.mean(np.square(np.linalg.norm(rows, axis=1)), dtype=np.float64)))
