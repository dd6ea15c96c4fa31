from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bict.errors import SettingsError, TransformError
from bict.transforms import Pairs, ResidualMLP, Ridge


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(((first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)).mean())


def held_out(pairs: Pairs, rung: ResidualMLP | Ridge) -> float:
    held = pairs.labels >= 30
    return cosine(rung.fit(pairs.take(~held)).transform(pairs.old[0, held]), pairs.new[0, held])


def test_starts_as_the_ridge_map():
    rng = np.random.default_rng(0)
    old = rng.normal(3, 5, (1, 80, 6))
    pairs = Pairs(old, old @ rng.normal(size=(6, 9)) + 40)
    np.testing.assert_allclose(
        ResidualMLP(epochs=0).fit(pairs).transform(pairs.old[0]), Ridge().fit(pairs).transform(pairs.old[0]), rtol=1e-4
    )


def test_keeps_a_rotation(rotated):
    pairs = rotated(dim=16)
    mapped = ResidualMLP(epochs=20, batch=64).fit(pairs).transform(pairs.old[0])
    assert cosine(mapped, pairs.new[0]) > 0.9999


def test_beats_ridge_on_held_out_classes_of_a_relation_no_matrix_follows(bent):
    pairs = bent()
    ridge, mlp = held_out(pairs, Ridge()), held_out(pairs, ResidualMLP(epochs=40, batch=64, hidden=64, lr=3e-3))
    assert 1 - mlp < 0.5 * (1 - ridge)


def test_losses_fall(bent):
    rung = ResidualMLP(epochs=15, batch=16).fit(bent(classes=12))
    assert len(rung.losses_) == 15
    assert rung.losses_[-1] < 0.8 * rung.losses_[0]


def test_what_was_trained_is_what_is_applied_also_far_from_the_origin():
    rng = np.random.default_rng(4)
    old = rng.normal(5, 2, (1, 200, 4))
    pairs = Pairs(old, 30 * np.abs(old - 5) - 20)
    rung = ResidualMLP(epochs=60, batch=200, hidden=32, lr=1e-2).fit(pairs)
    applied = 1 - cosine(rung.transform(pairs.old[0]), pairs.new[0])
    assert applied == pytest.approx(rung.losses_[-1], rel=0.01)
    assert applied < 0.5 * rung.losses_[0]


def test_first_loss_is_the_mean_of_one_minus_cosine_of_the_ridge_map(bent):
    pairs = bent(classes=6)
    rung = ResidualMLP(epochs=1, batch=10_000).fit(pairs)
    expected = 1 - cosine(Ridge().fit(pairs).transform(pairs.old[0]), pairs.new[0])
    assert rung.losses_[0] == pytest.approx(expected, rel=1e-4)


def test_class_and_length_terms_against_a_slow_reference(bent):
    plain = bent(classes=6)
    prototypes = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    pairs = Pairs(np.repeat(plain.old, 2, 0), np.repeat(plain.new, 2, 0), plain.labels, prototypes)
    rung = ResidualMLP(epochs=1, batch=10_000, class_weight=0.5, scale=7.0, length_weight=0.25).fit(pairs)
    start, expected = Ridge().fit(pairs), []
    for row, (old, new, label) in enumerate(zip(pairs.old[0], pairs.new[0], pairs.labels, strict=True)):
        mapped = start.transform(old[None])[0].astype(float)
        logits = [7.0 * mapped @ each / np.linalg.norm(mapped) / np.linalg.norm(each) for each in prototypes]
        entropy = math.log(sum(map(math.exp, logits))) - logits[label]
        length = (np.linalg.norm(mapped) / np.linalg.norm(new) - 1) ** 2
        expected.append(1 - cosine(mapped[None], pairs.new[0, row][None]) + 0.5 * entropy + 0.25 * length)
    assert rung.losses_[0] == pytest.approx(np.mean(expected), rel=1e-4)


def test_length_weight_keeps_lengths():
    rng = np.random.default_rng(2)
    old = rng.normal(size=(1, 300, 6))
    pairs = Pairs(old, 20 * old @ rng.normal(size=(6, 6)) * (1 + (old[..., :1] > 0)))

    def error(weight: float) -> float:
        mapped = ResidualMLP(epochs=60, batch=64, length_weight=weight).fit(pairs).transform(pairs.old[0])
        return float(np.abs(np.linalg.norm(mapped, axis=1) / np.linalg.norm(pairs.new[0], axis=1) - 1).mean())

    assert error(1.0) < 0.5 * error(0.0)


def test_class_term_needs_labels_and_prototypes(rotated):
    with pytest.raises(TransformError, match="labels and prototypes"):
        ResidualMLP(class_weight=1.0).fit(rotated())


def test_a_loss_that_explodes_is_refused(rotated):
    with pytest.raises(TransformError, match=r"not finite in epoch \d+: lower lr from 1e\+30"):
        ResidualMLP(epochs=20, batch=32, lr=1e30, length_weight=1.0).fit(rotated())


@pytest.mark.parametrize("setting", [{"dropout": 0.3}, {"noise": 0.3}, {"seed": 1}, {}])
def test_random_numbers_come_from_the_seed_alone(rotated, setting):
    pairs, plain = rotated(), ResidualMLP(epochs=3, batch=32)
    torch.manual_seed(1)
    first = ResidualMLP(epochs=3, batch=32, **setting).fit(pairs).state()
    torch.manual_seed(2)
    second = ResidualMLP(epochs=3, batch=32, **setting).fit(pairs).state()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert (first["out_weight"] == plain.fit(pairs).state()["out_weight"]).all() == (not setting)


def test_leaves_torch_as_it_was(rotated):
    pairs, rung = rotated(), ResidualMLP(epochs=2, dropout=0.1, noise=0.1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        rung.fit(pairs).transform(pairs.old[0])
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        rung.fit(pairs).transform(pairs.old[0])
        assert torch.is_inference_mode_enabled()
    rung.fit(pairs).transform(pairs.old[0])
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_counts_epochs(rotated):
    told = []
    ResidualMLP(epochs=3).fit(rotated(), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("setting", [{"hidden": 0}, {"epochs": -1}, {"batch": 0}, {"dropout": 1.0}, {"noise": -0.1}])
def test_settings_out_of_range(setting):
    with pytest.raises(SettingsError, match=f"^{next(iter(setting))} of mlp must be"):
        ResidualMLP(**setting)
