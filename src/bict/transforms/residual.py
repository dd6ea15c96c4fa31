"""The map x W + b + gelu(x W1 + b1) W2: what the rungs with one hidden layer beside an affine map share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bict.transforms.precision import Weights, at_precision, with_weights
from bict.transforms.units import Units

AFFINE = ("weight", "bias")
NAMES = (*AFFINE, "hidden_weight", "hidden_bias", "out_weight")
EPOCHS, STEPS = 8, 300


@dataclass(eq=False)
class Residual:
    """A rung whose fitted map is `psi`; `fit` sets `weights_`, for raw vectors, and `losses_`, of each epoch."""

    weights_: Weights = field(init=False, repr=False)
    losses_: list[float] = field(init=False, repr=False)

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)` to `(rows, new_dim)`."""
        with torch.inference_mode():
            rows = torch.tensor(np.ascontiguousarray(old, np.float32), device=device_of(self.weights_))
            return np.asarray(psi(rows, self.weights_).cpu().numpy(), np.float32)

    def at(self, precision: torch.dtype) -> Self:
        """The same map with the hidden layer in another precision."""
        return with_weights(self, {**at_precision(self.weights_, precision), **{n: self.weights_[n] for n in AFFINE}})

    def state(self) -> dict[str, NDArray[Any]]:
        """The five weight arrays."""
        return {name: weight.cpu().numpy() for name, weight in self.weights_.items()}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted network; `losses_` is not kept."""
        rung = cls(**settings)
        rung.weights_ = {name: torch.tensor(state[name]) for name in NAMES}
        return rung

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter of the constructor."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}


def device_of(weights: Weights) -> torch.device:
    """Where the weights of a fitted map lie, and so where it computes."""
    return next(iter(weights.values())).device


def psi(old: Tensor, weights: Weights, *, keep: Tensor | None = None) -> Tensor:
    """X W + b + gelu(x W1 + b1) W2 for old `(rows, old_dim)`; `keep` `(rows, hidden)` multiplies the hidden units."""
    hidden_weight = weights["hidden_weight"]
    hidden = functional.gelu(old.to(hidden_weight.dtype) @ hidden_weight + weights["hidden_bias"])
    if keep is not None:
        hidden = hidden * keep
    return old @ weights["weight"] + weights["bias"] + (hidden @ weights["out_weight"]).to(old.dtype)


def start(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    hidden: int,
    old: Units,
    new: Units,
    generator: torch.Generator,
) -> Weights:
    """The affine map x W + b in the given units with a hidden layer that adds nothing yet; `new` is around zero."""
    straight, offset = torch.from_numpy(weight), torch.from_numpy(bias)
    return {
        "weight": straight * (old.scale / new.scale),
        "bias": (offset + old.mean @ straight) / new.scale,
        "hidden_weight": torch.randn(len(weight), hidden, generator=generator) / math.sqrt(len(weight)),
        "hidden_bias": torch.zeros(hidden),
        "out_weight": torch.zeros(hidden, len(bias)),
    }


def fold(weights: Weights, old: Units, new: Units) -> Weights:
    """The same map for raw inputs and outputs; `new` is around zero."""
    weight = weights["weight"] * (new.scale / old.scale)
    hidden_weight = weights["hidden_weight"] / old.scale
    return {
        "weight": weight,
        "bias": weights["bias"] * new.scale - old.mean @ weight,
        "hidden_weight": hidden_weight,
        "hidden_bias": weights["hidden_bias"] - old.mean @ hidden_weight,
        "out_weight": weights["out_weight"] * new.scale,
    }
