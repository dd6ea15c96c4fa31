from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bict.embeddings import Embeddings
from bict.errors import TransformError
from bict.spaces import Space
from bict.transforms import FCT, Pairs, Procrustes, QueryBridge, ResidualMLP, Ridge, Transform
from bict.transforms.directed import _digest


@pytest.mark.parametrize(("written", "read"), [(Transform, QueryBridge), (QueryBridge, Transform)])
def test_one_direction_never_loads_as_the_other(rotated, spaces, tmp_path, written, read):
    made = written(Procrustes().fit(rotated()), *spaces())
    made.save(tmp_path)
    with pytest.raises(TransformError, match=rf"maps {made.direction}, expected a {read.noun}, {read.direction}"):
        read.load(tmp_path)
    path = tmp_path / "transform.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"direction": read.direction}))
    with pytest.raises(TransformError, match="was altered"):
        read.load(tmp_path)
    assert read(made.rung, made.source, made.target).digest != made.digest


def test_a_card_whose_rung_has_got_settings_since_keeps_its_digest_and_can_be_saved_again(rotated, spaces, tmp_path):
    pairs, (source, target) = rotated(), spaces()
    rung = Procrustes().fit(pairs)
    Transform(rung, source, target).save(tmp_path)
    path = tmp_path / "transform.json"
    digest = _digest("old vectors -> new space", "procrustes", {}, rung.state(), source, target)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": {}, "digest": digest}))
    loaded = Transform.load(tmp_path)
    assert loaded.digest == loaded.card().digest == digest
    np.testing.assert_array_equal(loaded.rung.transform(pairs.old[0]), rung.transform(pairs.old[0]))
    again = Transform.load(loaded.save(tmp_path / "again"))
    assert again.card() == loaded.card()


def test_the_name_of_a_direction_is_the_classes_own(rotated, spaces):
    rung = Procrustes().fit(rotated())
    names = [repr(kind(rung, *spaces())).partition("(")[0] for kind in (Transform, QueryBridge)]
    assert names == ["Transform", "QueryBridge"]


def test_on_a_gpu_a_network_gives_the_same_up_to_rounding(monkeypatch):
    old, new = (
        np.random.default_rng(seed).normal(size=(100, dim)).astype(np.float32) for seed, dim in ((0, 6), (1, 9))
    )
    source = Space(name="old", fingerprint="a" * 16, dim=6, normalised=False)
    target = Space(name="new", fingerprint="b" * 16, dim=9, normalised=False)
    moved, faked = [], not torch.cuda.is_available()
    for rung in (ResidualMLP(hidden=8, epochs=1), FCT(inner=8, epochs=1), Ridge()):
        transform = Transform(rung.fit(Pairs(old[None], new[None])), source, target)
        vectors = Embeddings(np.arange(100), old, source)
        on_cpu, state = transform.apply(vectors).vectors, rung.state()
        moved.clear()
        with monkeypatch.context() as patch:
            if faked:  # then at least all weights would go there
                patch.setattr(torch.cuda, "is_available", lambda: True)
                patch.setattr(torch.Tensor, "cuda", lambda weight: moved.append(weight) or weight.clone())
            transform.to_gpu()
        assert transform.gains_from_gpu == (not isinstance(rung, Ridge))
        assert len(moved) == (len(state) if faked and transform.gains_from_gpu else 0)
        np.testing.assert_allclose(transform.apply(vectors).vectors, on_cpu, atol=1e-4)
        assert all(np.array_equal(rung.state()[name], array) for name, array in state.items())
