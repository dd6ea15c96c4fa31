"""The precision in which a fitted network computes."""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Weights = dict[str, Tensor]
FULL = "float32"
PRECISIONS = {FULL: torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HasWeights(Protocol):
    """A fitted network."""

    weights_: Weights


Network = TypeVar("Network", bound=HasWeights)


def at_precision(weights: Weights, precision: torch.dtype) -> Weights:
    """Weights in another precision."""
    return {name: weight.to(precision) for name, weight in weights.items()}


def with_weights(rung: Network, weights: Weights) -> Network:
    """The same rung with other weights; the one given keeps its own."""
    other = copy.copy(rung)
    other.weights_ = weights
    return other
