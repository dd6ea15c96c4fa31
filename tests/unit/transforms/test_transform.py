from __future__ import annotations

import json
import os
from datetime import datetime

import numpy as np
import pytest

from bict.embeddings import Embeddings
from bict.errors import SpaceError, TransformError
from bict.spaces import Space
from bict.transforms import (
    FCT,
    RUNGS,
    DriftMLP,
    FastFill,
    Identity,
    LambdaOrthogonal,
    LowRank,
    Procrustes,
    ResidualMLP,
    Ridge,
    Transform,
    fit_ladder,
)


@pytest.fixture
def transform(rotated, spaces) -> Transform:
    return Transform(Ridge().fit(rotated()), *spaces())


@pytest.fixture
def gallery(rotated, transform) -> Embeddings:
    old = rotated(seed=1).old[0]
    return Embeddings(np.array([f"g{row}" for row in range(len(old))]), old, transform.source, np.arange(len(old)) % 3)


class Scripted(Identity):
    """Gives what the test wrote down."""

    def __init__(self, output: np.ndarray) -> None:
        self.output = output

    def transform(self, old: np.ndarray) -> np.ndarray:
        return self.output[: len(old)]


def test_apply_keeps_ids_and_labels_and_moves_the_space(transform, gallery):
    upgraded = transform.apply(gallery)
    np.testing.assert_array_equal(upgraded.ids, gallery.ids)
    np.testing.assert_array_equal(upgraded.labels, gallery.labels)
    assert upgraded.space == transform.target
    expected = gallery.vectors @ transform.rung.weight_ + transform.rung.bias_
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(upgraded.vectors, expected, atol=1e-6)


def test_a_target_that_is_not_normalised_keeps_lengths(rotated, spaces):
    pairs, (source, target) = rotated(), spaces(normalised=False)
    transform = Transform(Procrustes().fit(pairs), source, target)
    upgraded = transform.apply(Embeddings(np.arange(120), 3 * pairs.old[0], source))
    np.testing.assert_allclose(upgraded.vectors, 3 * pairs.new[0], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 120, 1000])
def test_batches_change_nothing(transform, gallery, batch):
    whole = transform.apply(gallery).vectors
    np.testing.assert_allclose(transform.apply(gallery, batch=batch).vectors, whole, atol=1e-6)


def test_no_rows_give_no_rows(transform, gallery):
    upgraded = transform.apply(gallery.take(np.zeros(len(gallery), bool)))
    assert upgraded.vectors.shape == (0, 8)


def test_swapped_direction_is_named_although_dimensions_agree(transform, gallery):
    upgraded = transform.apply(gallery)
    with pytest.raises(SpaceError, match=r"direction looks swapped: found vectors of new \(8-d.*old \(8-d"):
        transform.apply(upgraded)


@pytest.mark.parametrize("change", [{"fingerprint": "c" * 16}, {"normalised": False}, {"metric": "l2"}])
def test_another_space_of_the_same_dimension_is_refused(transform, gallery, change):
    other = Space(**transform.source.model_dump() | change)
    with pytest.raises(SpaceError, match="expected old"):
        transform.apply(Embeddings(gallery.ids, gallery.vectors, other))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_output_that_is_no_vector_names_its_id(gallery, spaces, value):
    output = gallery.vectors.copy()
    output[5] = value
    with pytest.raises(TransformError, match="identity maps id 'g5' to a vector that is zero or not finite"):
        Transform(Scripted(output), *spaces()).apply(gallery)


def test_a_rung_of_another_dimension_is_refused(gallery, spaces):
    with pytest.raises(TransformError, match=r"shape \(3,\), expected new \(8-d"):
        Transform(Scripted(np.ones((200, 3), np.float32)), *spaces()).apply(gallery)


@pytest.mark.parametrize(
    "rung",
    [
        Identity(),
        Procrustes(),
        Procrustes(centred=True),
        LambdaOrthogonal(lam=0.5, steps=3),
        LowRank(rank=3),
        Ridge(held_out=0.3),
        DriftMLP(epochs=1, hidden=4),
        ResidualMLP(epochs=1, hidden=4),
        FCT(side_dim=2, inner=4, epochs=2),
        FastFill(inner=4, epochs=2),
    ],
    ids=repr,
)
def test_save_and_load(rotated, spaces, gallery, tmp_path, rung):
    pairs = rotated()
    saved = Transform(rung.fit(pairs), *spaces(), data_hash=pairs.digest())
    assert saved.path is None
    assert saved.save(tmp_path / "deep" / "psi") == saved.path == tmp_path / "deep" / "psi"
    assert sorted(path.name for path in saved.path.iterdir()) == ["transform.json", "transform.safetensors"]
    loaded = Transform.load(saved.path)
    np.testing.assert_array_equal(loaded.apply(gallery).vectors, saved.apply(gallery).vectors)
    assert loaded.card() == saved.card()
    assert loaded.path == saved.path
    assert loaded.digest == saved.digest
    assert type(loaded.rung) is type(rung)


def test_the_scores_of_the_ladder_travel_with_the_transform(rotated, spaces, tmp_path):
    pairs = rotated()
    transform, ladder = fit_ladder(pairs, *spaces(), rungs=("procrustes", "ridge"))
    loaded = Transform.load(transform.save(tmp_path))
    assert loaded.scores == ladder
    assert loaded.data_hash == pairs.digest()
    assert datetime.fromisoformat(loaded.created).tzinfo is not None


def test_digest_depends_on_weights_settings_and_both_spaces(rotated, spaces):
    pairs, (source, target) = rotated(), spaces()
    rung, other = Ridge().fit(pairs), Space(name="x", fingerprint="f" * 16, dim=8)
    reseeded = Ridge.from_state(rung.state(), rung.settings() | {"seed": 1})
    nudged = Ridge.from_state(rung.state() | {"bias": rung.bias_ + np.float32(1e-6)}, rung.settings())
    transforms = [
        Transform(rung, source, target),
        Transform(rung, other, target),
        Transform(rung, source, other),
        Transform(rung, target, source),
        Transform(reseeded, source, target),
        Transform(nudged, source, target),
    ]
    assert len({each.digest for each in transforms}) == len(transforms)
    assert Transform(rung, source, target, created="then").digest == transforms[0].digest
    renamed = source.model_copy(update={"name": "renamed"})
    assert Transform(rung, renamed, target).digest == transforms[0].digest


def test_every_flipped_bit_of_a_weight_and_every_truncation_is_refused(rotated, spaces, tmp_path):
    transform = Transform(Procrustes().fit(rotated(dim=4)), *spaces(4, 4))
    weights = transform.save(tmp_path) / "transform.safetensors"
    good = weights.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    for at in range(header, len(good)):
        weights.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(TransformError, match="was altered"):
            Transform.load(tmp_path)
    for at in range(header):
        weights.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(TransformError, match="altered"):
            Transform.load(tmp_path)
    for length in (0, 7, header - 1, header, len(good) - 1):
        weights.write_bytes(good[:length])
        with pytest.raises(TransformError, match="truncated or altered") as refusal:
            Transform.load(tmp_path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["settings"].update(seed=5),
        lambda card: card["target"].update(normalised=False),
        lambda card: card["source"].update(fingerprint="e" * 16),
        lambda card: card.update(digest="0" * 64),
        lambda card: card.update(rung="procrustes"),
    ],
)
def test_an_altered_card_is_refused(transform, tmp_path, change):
    path = transform.save(tmp_path) / "transform.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    with pytest.raises(TransformError, match="was altered"):
        Transform.load(tmp_path)


def test_swapping_source_and_target_in_the_card_is_refused(transform, tmp_path):
    path = transform.save(tmp_path) / "transform.json"
    card = json.loads(path.read_text())
    card["source"], card["target"] = card["target"], card["source"]
    path.write_text(json.dumps(card))
    with pytest.raises(TransformError, match="was altered"):
        Transform.load(tmp_path)


@pytest.mark.parametrize("name", ["transform.json", "transform.safetensors"])
def test_a_missing_file_is_named(transform, tmp_path, name):
    (transform.save(tmp_path) / name).unlink()
    with pytest.raises(TransformError, match=f"no readable {name}"):
        Transform.load(tmp_path)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(TransformError, match=r"no directory .*nowhere"):
        Transform.load(tmp_path / "nowhere")


def test_a_newer_schema_asks_for_a_newer_bict(transform, tmp_path):
    path = transform.save(tmp_path) / "transform.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 7}))
    with pytest.raises(TransformError, match="schema 7, this bict reads up to 1"):
        Transform.load(tmp_path)


def test_a_rung_this_version_does_not_have(transform, tmp_path, monkeypatch):
    transform.save(tmp_path)
    others = {name: rung for name, rung in RUNGS.items() if name != "ridge"}
    monkeypatch.setattr("bict.transforms.directed.RUNGS", others)
    with pytest.raises(TransformError, match="holds rung 'ridge', this bict has identity, procrustes, lambda"):
        Transform.load(tmp_path)


def test_state_of_another_version_of_a_rung(transform, tmp_path, monkeypatch):
    transform.save(tmp_path)
    monkeypatch.setitem(RUNGS, "ridge", ResidualMLP)
    with pytest.raises(TransformError, match="a ridge of another version of bict"):
        Transform.load(tmp_path)


def test_saving_where_nothing_can_be_written(transform, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransformError, match="cannot write"):
        transform.save(tmp_path / "file")


def test_an_interrupted_save_never_loads_as_a_mixture(transform, rotated, spaces, tmp_path, monkeypatch):
    Transform(Procrustes().fit(rotated()), *spaces()).save(tmp_path)
    real = os.fsync
    calls = []

    def fails_on_the_card(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fails_on_the_card)
    with pytest.raises(TransformError, match="No space left"):
        transform.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["transform.json", "transform.safetensors"]
    with pytest.raises(TransformError, match="altered"):
        Transform.load(tmp_path)


def test_a_changed_shape_is_refused_although_the_bytes_agree(transform, tmp_path):
    weights = transform.save(tmp_path) / "transform.safetensors"
    weights.write_bytes(weights.read_bytes().replace(b'"shape":[1]', b'"shape":[ ]'))
    with pytest.raises(TransformError, match="was altered"):
        Transform.load(tmp_path)
