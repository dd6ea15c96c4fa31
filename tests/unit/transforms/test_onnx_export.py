from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from bict.embeddings import Embeddings, normalise
from bict.errors import MissingExtra, TransformError
from bict.spaces import Space
from bict.transforms import BRIDGES, RUNGS, Pairs, QueryBridge, Ridge, Transform, build_rung, fit_bridge
from bict.transforms.onnx_graph import NETWORKS

SETTINGS = {
    "procrustes": {"centred": True},
    "lambda-orthogonal": {"steps": 20},
    "drift-mlp": {"epochs": 3, "hidden": 16},
    "mlp": {"epochs": 3, "hidden": 16},
    "fct": {"epochs": 4, "inner": 16, "side_dim": 2},
    "fastfill": {"epochs": 4, "inner": 16},
    "head": {"epochs": 3, "hidden": 16},
}
CASES = [(name, *dims) for name in RUNGS for dims in [(6, 6), (5, 9), (9, 4)] if name != "identity" or dims[0] == 6]


def make_pairs(old_dim: int, new_dim: int) -> Pairs:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(120, old_dim)) + 1
    new = old @ rng.normal(size=(old_dim, new_dim)) + 0.3 * rng.normal(size=(120, new_dim)) - 1
    return Pairs(unit(old)[None], unit(new)[None], np.arange(120) % 20)


def unit(rows: np.ndarray) -> np.ndarray:
    return normalise(rows.astype(np.float32))


def run(path, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("vectors", ["rows", rows.shape[1]])]
    (found,) = session.run(["mapped"], {"vectors": rows})
    return found


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(("name", "old_dim", "new_dim"), CASES)
def test_every_rung_maps_as_apply_does_and_leaves_lengths_where_they_count(
    spaces, tmp_path, name, old_dim, new_dim, normalised
):
    old, new = spaces(old_dim, new_dim, normalised=normalised)
    rung = build_rung(name, SETTINGS.get(name)).fit(make_pairs(old_dim, new_dim))
    transform = Transform(rung, old, new)
    path = transform.to_onnx(tmp_path / "deep" / "psi.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    for rows in (1, 1000):
        asked = unit(np.random.default_rng(rows).normal(size=(rows, old_dim)))
        asked = asked if normalised else 3 * asked
        expected = transform.apply(Embeddings(np.arange(rows), asked, old)).vectors
        found = run(path, asked)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("form", BRIDGES)
def test_every_bridge(spaces, tmp_path, form):
    pairs, (old, new) = make_pairs(5, 9), spaces(5, 9)
    bridge = fit_bridge(pairs, new, old, form=form)
    expected = bridge.apply(Embeddings(np.arange(120), pairs.new[0], new)).vectors
    np.testing.assert_allclose(run(bridge.to_onnx(tmp_path / "b.onnx"), pairs.new[0]), expected, rtol=0, atol=1e-5)


def test_a_loaded_transform_gives_the_same_file_and_the_file_says_what_it_is(spaces, tmp_path):
    old, new = spaces(5, 9)
    transform = Transform(build_rung("mlp", SETTINGS["mlp"]).fit(make_pairs(5, 9)), old, new)
    first = transform.to_onnx(tmp_path / "first.onnx")
    second = Transform.load(transform.save(tmp_path / "psi")).to_onnx(tmp_path / "second.onnx")
    assert first.read_bytes() == second.read_bytes()
    model = onnx.load(first)
    about = {each.key: each.value for each in model.metadata_props}
    assert (about["rung"], about["digest"], about["direction"]) == ("mlp", transform.digest, transform.direction)
    assert Space.model_validate_json(about["source"]) == old
    assert Space.model_validate_json(about["target"]) == new
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert model.producer_name == "bict"


def test_no_rows_give_no_rows_and_a_zero_row_stays_zero(spaces, tmp_path):
    old, new = spaces(6, 6)
    path = Transform(build_rung("identity"), old, new).to_onnx(tmp_path / "psi.onnx")
    assert run(path, np.zeros((0, 6), np.float32)).shape == (0, 6)
    np.testing.assert_array_equal(run(path, np.zeros((2, 6), np.float32)), np.zeros((2, 6)))


def test_a_graph_that_does_something_else_is_refused_and_nothing_is_written(spaces, tmp_path, monkeypatch):
    old, new = spaces(6, 6)
    transform = Transform(Ridge().fit(make_pairs(6, 6)), old, new)
    monkeypatch.setitem(NETWORKS, "ridge", lambda graph, state: graph.affine("vectors", state["weight"]))
    with pytest.raises(TransformError, match=r"the ONNX graph of ridge is off by \S+, expected at most 1e-05"):
        transform.to_onnx(tmp_path / "psi.onnx")
    monkeypatch.delitem(NETWORKS, "ridge")
    with pytest.raises(TransformError, match=r"ridge has no ONNX graph: expected one of identity, "):
        transform.to_onnx(tmp_path / "psi.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_one_line(spaces, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"^{library} is not installed: pip install 'bict\[onnx\]'$"):
        Transform(build_rung("identity"), *spaces(6, 6)).to_onnx(tmp_path / "psi.onnx")


def test_what_cannot_be_written_is_one_line(spaces, tmp_path):
    bridge = QueryBridge(build_rung("identity"), *spaces(6, 6))
    (tmp_path / "file").write_text("")
    with pytest.raises(TransformError, match=r"^cannot write the query bridge to .*: "):
        bridge.to_onnx(tmp_path / "file" / "psi.onnx")


def test_large_vectors_in_a_narrow_cone_still_pass(spaces, tmp_path):
    """Weights that undo a large mean are where float32 loses most."""
    rng = np.random.default_rng(0)
    old = unit(rng.normal(size=(300, 512)) * 0.02 + 1)
    pairs = Pairs(old[None], unit(old @ rng.normal(size=(512, 256)))[None])
    rung = build_rung("drift-mlp", {"epochs": 2}).fit(pairs)
    assert Transform(rung, *spaces(512, 256)).to_onnx(tmp_path / "psi.onnx").exists()
