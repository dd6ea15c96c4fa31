"""The network of FCT: batch norm while it is trained, plain linear layers and ReLU afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bict.transforms.precision import Weights
from bict.transforms.units import Units

END = "end"
LAYERS = ("old_1", "old_2", "side_1", "side_2", "mixed_1", "mixed_2", END)


class Block(nn.Module):
    """Linear layer without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = _linear(inputs, outputs, generator, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """`(rows, inputs)` to `(rows, outputs)`."""
        return torch.relu(self.norm(self.linear(rows)))

    def plain(self) -> tuple[Tensor, Tensor]:
        """Weight `(inputs, outputs)` and bias `(outputs,)` of linear layer and frozen batch norm in one."""
        factor = self.norm.weight / torch.sqrt(self.norm.get_buffer("running_var") + self.norm.eps)
        return self.linear.weight.T * factor, self.norm.bias - self.norm.get_buffer("running_mean") * factor


class FCTNetwork(nn.Module):
    """Two branches d -> 2d -> 2d' for old vector and side information, joined, then 4d' -> inner -> inner -> outputs.

    Every layer but the last, which is linear, is a `Block`.
    """

    def __init__(
        self, old_dim: int, side_dim: int, new_dim: int, inner: int, outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        sizes = {
            "old_1": (old_dim, 2 * old_dim),
            "old_2": (2 * old_dim, 2 * new_dim),
            "side_1": (side_dim, 2 * side_dim),
            "side_2": (2 * side_dim, 2 * new_dim),
            "mixed_1": (4 * new_dim, inner),
            "mixed_2": (inner, inner),
        }
        self.blocks = {name: Block(*size, generator) for name, size in sizes.items()}
        for name, block in self.blocks.items():
            self.add_module(name, block)
        self.end = _linear(inner, outputs, generator, bias=True)

    def forward(self, old: Tensor, side: Tensor) -> Tensor:
        """`(rows, outputs)` for old vectors `(rows, old_dim)` and side information `(rows, side_dim)`."""
        return _wired(lambda name, rows: (self.end if name == END else self.blocks[name])(rows), old, side)

    def fold(self, old: Units, side: Units, new: Units) -> Weights:
        """Weights for `folded` that do for raw vectors what this network, batch norms frozen, does in the given units.

        Outputs beyond the dimension of `new` stay in the network's own units.
        """
        layers = {name: self.blocks[name].plain() for name in LAYERS if name != END}
        for name, units in (("old_1", old), ("side_1", side)):
            weight, bias = layers[name]
            layers[name] = weight / units.scale, bias - units.mean @ weight / units.scale
        beyond = self.end.out_features - len(new.mean)
        scale = torch.cat([torch.full_like(new.mean, new.scale), torch.ones(beyond)])
        mean = torch.cat([new.mean, torch.zeros(beyond)])
        layers[END] = self.end.weight.T * scale, self.end.bias * scale + mean
        weights = {f"{name}_weight": weight.contiguous() for name, (weight, _) in layers.items()}
        return {**weights, **{f"{name}_bias": bias for name, (_, bias) in layers.items()}}


def folded(old: Tensor, side: Tensor, weights: Weights) -> Tensor:
    """`(rows, outputs)` of the network whose batch norms are folded into its weights, each row by itself."""

    def layer(name: str, rows: Tensor) -> Tensor:
        weight = weights[f"{name}_weight"]
        mapped = rows.to(weight.dtype) @ weight + weights[f"{name}_bias"]
        return mapped if name == END else torch.relu(mapped)

    return _wired(layer, old, side)


def _wired(layer: Callable[[str, Tensor], Tensor], old: Tensor, side: Tensor) -> Tensor:
    branches = layer("old_2", layer("old_1", old)), layer("side_2", layer("side_1", side))
    return layer(END, layer("mixed_2", layer("mixed_1", torch.cat(branches, dim=1))))


def _linear(inputs: int, outputs: int, generator: torch.Generator, *, bias: bool) -> nn.Linear:
    """A linear layer as torch starts it, drawn from the generator; its bias is zero."""
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta").to_empty(device="cpu")
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
