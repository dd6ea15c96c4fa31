from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bict.errors import SettingsError, TransformError
from bict.transforms import LambdaOrthogonal, Pairs, Procrustes, Ridge
from bict.transforms.lambda_orthogonal import departure


def noisy(old_dim: int, new_dim: int, scale: float = 1.0) -> Pairs:
    rng = np.random.default_rng(3)
    old = rng.normal(0.5, 1, size=(1, 300, old_dim))
    new = old @ rng.normal(size=(old_dim, new_dim)) / math.sqrt(old_dim) + rng.normal(size=(1, 300, new_dim))
    return Pairs(old / np.linalg.norm(old, axis=2, keepdims=True), scale * new / np.linalg.norm(new, axis=2)[..., None])


def far(weight: np.ndarray) -> float:
    smaller = weight.T @ weight if weight.shape[0] > weight.shape[1] else weight @ weight.T
    return float(np.linalg.norm(smaller - np.eye(len(smaller))))


def error(rung, pairs: Pairs) -> float:
    return float(np.square(rung.transform(pairs.old[0]) - pairs.new[0]).sum(1).mean())


@pytest.mark.parametrize("dims", [(6, 6), (4, 9), (9, 4)])
def test_departure_is_of_the_smaller_product_and_zero_for_a_rotation(dims):
    weight = np.random.default_rng(0).normal(size=dims)
    assert departure(torch.tensor(weight)).item() == pytest.approx(far(weight))
    turn = np.linalg.svd(weight, full_matrices=False)
    assert departure(torch.tensor(turn[0] @ turn[2])).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dims", [(6, 6), (4, 9), (9, 4)])
def test_small_lam_stays_a_rotation_and_large_lam_goes_to_least_squares(dims):
    pairs = noisy(*dims)
    tight, middle, loose = (LambdaOrthogonal(lam=lam, steps=600).fit(pairs) for lam in (0.0, 1.0, 100.0))
    assert far(tight.weight_) < 0.01
    assert 0.3 < far(middle.weight_) < 1.0 < far(loose.weight_)
    assert error(tight, pairs) > error(middle, pairs) > error(loose, pairs)
    procrustes = Procrustes(centred=True).fit(pairs)
    if dims[0] <= dims[1]:
        np.testing.assert_allclose(tight.weight_, procrustes.rotation_, atol=0.02)
    assert error(loose, pairs) == pytest.approx(error(Ridge(penalties=(1e-9,)).fit(pairs), pairs), rel=0.05)


def test_recovers_a_rotation_with_an_offset():
    rng, turn = np.random.default_rng(1), np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    old = rng.normal(size=(1, 100, 8))
    pairs = Pairs(old, old @ turn + 0.1)
    np.testing.assert_allclose(LambdaOrthogonal(steps=100).fit(pairs).transform(pairs.old[0]), pairs.new[0], atol=0.02)


def test_loss_is_the_mean_squared_distance_plus_the_soft_term():
    pairs = noisy(6, 5)
    rung = LambdaOrthogonal(lam=1.5, weight=0.7, steepness=4.0, steps=40).fit(pairs)
    nearly = LambdaOrthogonal(lam=1.5, weight=0.7, steepness=4.0, steps=41, lr=0.0).fit(pairs)
    start = Procrustes(centred=True).fit(pairs)
    assert nearly.losses_[0] == nearly.losses_[-1] == rung.losses_[0]
    term = far(start.rotation_) / (1 + math.exp(-4.0 * (far(start.rotation_) - 1.5)))
    assert rung.losses_[0] == pytest.approx(error(start, pairs) + 0.7 * term, rel=1e-5)
    term = far(rung.weight_) / (1 + math.exp(-4.0 * (far(rung.weight_) - 1.5)))
    assert rung.losses_[-1] == pytest.approx(error(rung, pairs) + 0.7 * term, rel=1e-3)


def test_default_lam_is_twelve_at_512_dimensions_and_grows_with_the_root():
    pairs = noisy(8, 8)
    fitted = LambdaOrthogonal(steps=50).fit(pairs), LambdaOrthogonal(lam=1.5, steps=50).fit(pairs)
    np.testing.assert_array_equal(fitted[0].weight_, fitted[1].weight_)


def test_lengths_of_the_new_space_do_not_count_as_departure():
    small, large = noisy(6, 6), noisy(6, 6, scale=40.0)
    fitted = LambdaOrthogonal(steps=50).fit(small), LambdaOrthogonal(steps=50).fit(large)
    np.testing.assert_allclose(40 * fitted[0].weight_, fitted[1].weight_, rtol=1e-3, atol=1e-3)


def test_settings_and_losses_that_cannot_be():
    with pytest.raises(SettingsError, match="lam of lambda-orthogonal must be at least 0, found -1"):
        LambdaOrthogonal(lam=-1)
    with pytest.raises(TransformError, match="loss of lambda-orthogonal is not finite"):
        LambdaOrthogonal(lr=1e200, steps=5).fit(noisy(4, 4))
