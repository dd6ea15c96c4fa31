from __future__ import annotations

import numpy as np
import pytest
import torch

from bict.errors import SettingsError, TransformError
from bict.transforms import DriftMLP, Pairs, Procrustes

QUICK = {"epochs": 40, "hidden": 64, "batch": 64}


def error(rung, pairs: Pairs) -> float:
    return float(np.square(rung.transform(pairs.old[0]) - pairs.new[0]).mean())


@pytest.mark.parametrize("dims", [(6, 6), (4, 9), (9, 4)])
def test_starts_as_the_rotation(dims):
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.normal(1, 1, (1, 50, dims[0])), rng.normal(-2, 3, (1, 50, dims[1])))
    rotated = Procrustes().fit(pairs).transform(pairs.old[0])
    np.testing.assert_allclose(DriftMLP(epochs=0).fit(pairs).transform(pairs.old[0]), rotated, atol=1e-4)


def test_keeps_a_rotation(rotated):
    pairs = rotated(dim=16)
    assert error(DriftMLP(**QUICK).fit(pairs), pairs) < 1e-4


def test_beats_the_rotation_on_held_out_classes_of_a_relation_no_matrix_follows(bent):
    pairs = bent()
    held = pairs.labels >= 30
    kept, judged = pairs.take(~held), pairs.take(held)
    assert error(DriftMLP(**QUICK).fit(kept), judged) < 0.2 * error(Procrustes().fit(kept), judged)


def test_the_scale_follows_lengths_of_each_dimension_apart():
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1, 400, 4))
    pairs = Pairs(old, old * [0.5, 1, 2, 4])
    rung = DriftMLP(epochs=100, hidden=1, batch=200, lr=3e-2).fit(pairs)
    assert error(rung, pairs) < 0.02 * error(Procrustes().fit(pairs), pairs)


def test_losses_are_the_squared_error_of_what_is_applied():
    rng = np.random.default_rng(4)
    old = rng.normal(5, 2, (1, 200, 4))
    pairs = Pairs(old, 30 * np.abs(old - 5) - 20)
    rung = DriftMLP(epochs=40, batch=200, hidden=32).fit(pairs)
    unit = np.square(pairs.new).mean()
    assert rung.losses_[0] == pytest.approx(error(Procrustes().fit(pairs), pairs) / unit, rel=1e-3)
    assert rung.losses_[-1] == pytest.approx(error(rung, pairs) / unit, rel=0.01)
    assert rung.losses_[-1] < 0.5 * rung.losses_[0]


def test_random_numbers_come_from_the_seed_alone(rotated):
    pairs, global_state = rotated(), torch.get_rng_state()
    states = [DriftMLP(epochs=2, hidden=4, seed=seed).fit(pairs).state()["hidden_weight"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(states[0], states[1])
    assert (states[0] != states[2]).any()
    assert torch.equal(torch.get_rng_state(), global_state)


def test_settings_and_losses_that_cannot_be(rotated):
    with pytest.raises(SettingsError, match="hidden of drift-mlp must be at least 1"):
        DriftMLP(hidden=0)
    with pytest.raises(TransformError, match="loss of drift-mlp is not finite"):
        DriftMLP(epochs=20, batch=32, lr=1e30).fit(rotated())
