"""What each rung computes, as nodes of an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

State = Mapping[str, NDArray[Any]]
INPUT = "vectors"
LAST = np.iinfo(np.int64).max


class Graph:
    """A graph that is being built; its methods take and give the names of values.

    Attributes:
        nodes: operators, in order.
        constants: weights.
    """

    def __init__(self, onnx: ModuleType) -> None:
        """`onnx` is the library, which is not there for everyone."""
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: int) -> str:
        """An operator of ONNX; its output gets a name of its own where none is given."""
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        """An array, which keeps its type."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def affine(self, rows: str, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> str:
        """X W + b for `(rows, inputs)`, weight `(inputs, outputs)` and bias `(outputs,)`."""
        return self.node("Gemm", rows, *(self.constant(each) for each in (weight, bias) if each is not None))

    def gelu(self, rows: str) -> str:
        """X (1 + erf(x / sqrt 2)) / 2, of operators that every runtime has."""
        root, one, half = (self.constant(np.array([value], np.float32)) for value in (math.sqrt(0.5), 1, 0.5))
        share = self.node("Add", self.node("Erf", self.node("Mul", rows, root)), one)
        return self.node("Mul", self.node("Mul", rows, half), share)

    def columns(self, rows: str, start: int, stop: int) -> str:
        """Columns from `start` to before `stop`; negative ones count from the end."""
        return self.node("Slice", rows, *(self.constant(np.array([each], np.int64)) for each in (start, stop, 1)))


def _procrustes(graph: Graph, state: State) -> str:
    if "old_mean" not in state:
        return graph.affine(INPUT, state["rotation"])
    centred = graph.node("Sub", INPUT, graph.constant(state["old_mean"]))
    return graph.affine(centred, state["rotation"], state["new_mean"])


def _affine(graph: Graph, state: State) -> str:
    return graph.affine(INPUT, state["weight"], state["bias"])


def _residual(graph: Graph, state: State) -> str:
    hidden = graph.gelu(graph.affine(INPUT, state["hidden_weight"], state["hidden_bias"]))
    return graph.node("Add", _affine(graph, state), graph.affine(hidden, state["out_weight"]))


def _fct(graph: Graph, state: State) -> str:
    def layers(rows: str, *names: str) -> str:
        for name in names:
            rows = graph.node("Relu", graph.affine(rows, state[f"{name}_weight"], state[f"{name}_bias"]))
        return rows

    vector = graph.columns(INPUT, 0, len(state["old_1_weight"]))
    side = graph.columns(INPUT, -len(state["side_1_weight"]), LAST)
    branches = layers(vector, "old_1", "old_2"), layers(side, "side_1", "side_2")
    joined = layers(graph.node("Concat", *branches, axis=1), "mixed_1", "mixed_2")
    return graph.affine(joined, state["end_weight"], state["end_bias"])


def _fastfill(graph: Graph, state: State) -> str:
    """As `_fct`, without the last output, the log-variance."""
    return _fct(graph, {**state, "end_weight": state["end_weight"][:, :-1], "end_bias": state["end_bias"][:-1]})


NETWORKS: dict[str, Callable[[Graph, State], str]] = {
    "identity": lambda _graph, _state: INPUT,
    "procrustes": _procrustes,
    "lambda-orthogonal": _affine,
    "low-rank": _affine,
    "ridge": _affine,
    "drift-mlp": _residual,
    "mlp": _residual,
    "head": _residual,
    "fct": _fct,
    "fastfill": _fastfill,
}
