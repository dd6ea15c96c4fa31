from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bict.errors import SettingsError, TransformError
from bict.transforms import FCT, Pairs, Ridge
from bict.transforms.fct_network import FCTNetwork

QUICK = {"epochs": 40, "inner": 16, "batch": 64, "lr": 1e-2}


def error(rung, pairs: Pairs) -> float:
    return float(np.square(rung.transform(pairs.old[0]) - pairs.new[0]).mean())


def split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    held = pairs.labels >= 30
    return pairs.take(~held), pairs.take(held)


@pytest.fixture
def halved() -> Pairs:
    """Pairs whose new vectors need the last two columns of what was stored, and bend the rest."""
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1, 600, 6))
    new = np.concatenate([np.abs(old[..., :4]) - 0.5, old[..., 4:] * old[..., :2]], axis=2)
    return Pairs(old, new, np.arange(600) % 40)


def test_beats_ridge_on_held_out_classes_of_a_relation_no_matrix_follows(bent):
    kept, judged = split(bent())
    assert error(FCT(**QUICK).fit(kept), judged) < 0.5 * error(Ridge().fit(kept), judged)


def test_side_information_is_the_last_columns_and_helps(halved):
    kept, judged = split(halved)
    with_side = error(FCT(side_dim=2, **QUICK).fit(kept), judged)
    without = (Pairs(each.old[..., :4], each.new, each.labels) for each in (kept, judged))
    kept, judged = without
    assert with_side < 0.7 * error(FCT(**QUICK).fit(kept), judged)


def test_old_vector_and_side_information_go_to_their_own_branches(halved):
    rung = FCT(side_dim=2, epochs=1, inner=8).fit(halved)
    assert rung.weights_["old_1_weight"].shape == (4, 8)
    assert rung.weights_["side_1_weight"].shape == (2, 4)
    swapped = halved.old[0].copy()
    swapped[:, 4:] = swapped[::-1, 4:]
    assert (rung.transform(swapped) != rung.transform(halved.old[0])).any()
    rung.weights_["side_1_weight"].zero_()
    np.testing.assert_array_equal(rung.transform(swapped), rung.transform(halved.old[0]))
    alone = FCT(epochs=1, inner=8).fit(halved)
    assert alone.weights_["old_1_weight"].shape == alone.weights_["side_1_weight"].shape == (6, 12)


def test_losses_are_the_squared_error_of_what_is_applied_also_far_from_the_origin():
    rng = np.random.default_rng(4)
    old = rng.normal(50, 2, (1, 400, 4))
    pairs = Pairs(old, 300 * np.abs(old - 50) + 1000)
    rung = FCT(epochs=100, batch=400, inner=16, lr=1e-2).fit(pairs)
    unit = np.square(pairs.new - pairs.new.mean(axis=1)).mean()
    assert rung.losses_[0] > 0.8
    assert rung.losses_[-1] == pytest.approx(error(rung, pairs) / unit, rel=0.02)
    assert rung.losses_[-1] < 0.2


def test_batch_norms_are_frozen_in_the_second_half_and_for_a_batch_of_one_row(monkeypatch):
    modes, real = [], FCTNetwork.forward

    def watched(self, old, side):
        modes.append((self.training, len(old)))
        return real(self, old, side)

    monkeypatch.setattr(FCTNetwork, "forward", watched)
    rng = np.random.default_rng(0)
    FCT(epochs=4, batch=4, inner=4).fit(Pairs(rng.normal(size=(1, 9, 3)), rng.normal(size=(1, 9, 2))))
    assert modes == [(True, 4), (True, 4), (False, 1)] * 2 + [(False, 4), (False, 4), (False, 1)] * 2


def test_one_pair_is_fitted_without_a_warning():
    pair = Pairs(np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    assert np.isfinite(FCT(epochs=2, inner=4).fit(pair).transform(pair.old[0])).all()


def test_width_follows_the_larger_dimension_up_to_the_papers(rotated):
    assert FCT(epochs=1).fit(rotated(dim=8)).weights_["mixed_2_weight"].shape == (64, 64)
    assert FCT(epochs=1, side_dim=4).fit(rotated(dim=8)).weights_["mixed_2_weight"].shape == (64, 64)
    rng = np.random.default_rng(0)
    wide = Pairs(rng.normal(size=(1, 4, 300)), rng.normal(size=(1, 4, 2)))
    assert FCT(epochs=1).fit(wide).weights_["mixed_2_weight"].shape == (2048, 2048)


def test_leaves_torch_as_it_was(rotated):
    pairs, rung = rotated(), FCT(epochs=2, inner=4)
    state = torch.get_rng_state()
    with torch.inference_mode():
        first = rung.fit(pairs).transform(pairs.old[0])
        assert torch.is_inference_mode_enabled()
    np.testing.assert_array_equal(rung.fit(pairs).transform(pairs.old[0]), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(isinstance(each, nn.Module) for each in vars(rung).values())


def test_settings_and_pairs_that_cannot_be(rotated):
    with pytest.raises(SettingsError, match="epochs of fct must be at least 1, found 0"):
        FCT(epochs=0)
    with pytest.raises(SettingsError, match="side_dim of fct must be at least 0, found -1"):
        FCT(side_dim=-1)
    with pytest.raises(TransformError, match="side_dim 8 leaves nothing of old vectors of 8 dimensions"):
        FCT(side_dim=8).fit(rotated(dim=8))
    with pytest.raises(TransformError, match="loss of fct is not finite"):
        FCT(epochs=20, inner=4, batch=16, lr=1e30).fit(rotated())
