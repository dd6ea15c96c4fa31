"""A fitted map as an ONNX model, for services that run no Python; checked against the map itself."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from bict.embeddings import Embeddings, normalise
from bict.errors import MissingExtra, TransformError
from bict.transforms.onnx_graph import INPUT, NETWORKS, Graph

if TYPE_CHECKING:
    from bict.transforms.directed import Directed

OUTPUT = "mapped"
OPSET, IR_VERSION = 17, 8
ROWS, TOLERANCE = 256, 1e-5


def onnx_model(directed: Directed) -> bytes:
    """The map as a serialised ONNX model: `vectors` `(rows, source dim)` to `mapped` `(rows, target dim)`, float32.

    Outputs have unit length where the target space is normalised; a row that `apply` would refuse because it comes out
    zero comes out zero. The metadata holds `direction`, `rung`, `digest`, and the two spaces, `source` and `target`, as
    JSON. Operators are those of opset 17, so that runtimes from 2022 on can read it. The model is run with onnxruntime
    on 256 random rows before it is handed over.

    Raises:
        MissingExtra: onnx or onnxruntime is not installed.
        TransformError: a rung without a graph, or a graph that differs from `apply` by more than 1e-5 of a vector's
            length, or by more than 1e-5 where the length is below 1.
    """
    onnx, runtime = _library("onnx"), _library("onnxruntime")
    if directed.rung.name not in NETWORKS:
        raise TransformError(f"{directed.rung.name} has no ONNX graph: expected one of {', '.join(NETWORKS)}")
    graph = Graph(onnx)
    mapped = NETWORKS[directed.rung.name](graph, directed.rung.state())
    if directed.target.normalised:
        mapped = graph.node("LpNormalization", mapped, axis=1, p=2)
    graph.node("Identity", mapped, output=OUTPUT)
    model = _serialised(onnx, graph, directed)
    _check(model, directed, runtime)
    return model


def _serialised(onnx: ModuleType, graph: Graph, directed: Directed) -> bytes:
    taken, given = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", space.dim])
        for name, space in ((INPUT, directed.source), (OUTPUT, directed.target))
    )
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, directed.rung.name, [taken], [given], graph.constants),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bict",
        producer_version=version("bict"),
    )
    about = {
        "direction": directed.direction,
        "rung": directed.rung.name,
        "digest": directed.digest,
        "source": directed.source.model_dump_json(),
        "target": directed.target.model_dump_json(),
    }
    onnx.helper.set_model_props(model, about)
    return bytes(model.SerializeToString())


def _check(model: bytes, directed: Directed, runtime: ModuleType) -> None:
    """Refuse a model that does not do what `apply` does."""
    rows = np.random.default_rng(0).normal(size=(ROWS, directed.source.dim)).astype(np.float32)
    rows = normalise(rows) if directed.source.normalised else rows
    expected = directed.apply(Embeddings(np.arange(ROWS), rows, directed.source)).vectors
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], {INPUT: rows})
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    off = float(np.max(np.abs(found - expected) / np.maximum(lengths, 1)))
    if not off <= TOLERANCE:
        raise TransformError(
            f"the ONNX graph of {directed.rung.name} is off by {off:.1e}, expected at most {TOLERANCE:.0e}: serve with "
            f"the saved {directed.noun}, or fit another rung"
        )


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(name, "onnx") from error
