from __future__ import annotations

import numpy as np
import pytest

from bict.errors import SettingsError, TransformError
from bict.transforms import LowRank, Pairs, Ridge


def noisy(old_dim: int = 8, new_dim: int = 6, true_rank: int = 6, noise: float = 0.3) -> Pairs:
    rng = np.random.default_rng(0)
    old = rng.normal(1, 1, size=(2, 150, old_dim))
    weight = rng.normal(size=(old_dim, true_rank)) @ rng.normal(size=(true_rank, new_dim))
    return Pairs(old, 2 + old @ weight + noise * rng.normal(size=(2, 150, new_dim)), np.arange(150) % 30)


@pytest.mark.parametrize("dims", [(6, 6), (5, 9), (9, 5)])
def test_rank_is_half_the_smaller_dimension_unless_given(dims):
    pairs = noisy(*dims)
    assert np.linalg.matrix_rank(LowRank().fit(pairs).weight_, tol=1e-4) == 3
    assert np.linalg.matrix_rank(LowRank(rank=2).fit(pairs).weight_, tol=1e-4) == 2


def test_full_rank_is_ridge():
    pairs = noisy()
    full, ridge = LowRank(rank=6).fit(pairs), Ridge().fit(pairs)
    assert full.alpha_ == ridge.alpha_
    np.testing.assert_allclose(full.transform(pairs.old[0]), ridge.transform(pairs.old[0]), rtol=1e-4, atol=1e-4)


def test_recovers_a_map_of_its_rank():
    pairs = noisy(true_rank=3, noise=0)
    np.testing.assert_allclose(LowRank().fit(pairs).transform(pairs.old[0]), pairs.new[0], atol=0.01)


def test_equals_the_truncated_fit_of_the_augmented_problem():
    pairs, rung = noisy(), LowRank(rank=2)
    rung.fit(pairs)
    old, new = (side.astype(float) - side.mean(0, dtype=float) for side in pairs.flat())
    stacked = np.concatenate([old, np.sqrt(rung.alpha_) * np.eye(8)])
    targets = np.concatenate([new, np.zeros((8, 6))])
    full = np.linalg.lstsq(stacked, targets, rcond=None)[0]
    left, values, right = np.linalg.svd(stacked @ full, full_matrices=False)
    truncated = left[:, :2] * values[:2] @ right[:2]
    expected = np.linalg.lstsq(stacked, truncated, rcond=None)[0]
    np.testing.assert_allclose(rung.weight_, expected, atol=1e-5)
    means = [side.mean(0, dtype=float) for side in pairs.flat()]
    np.testing.assert_allclose(means[0] @ rung.weight_ + rung.bias_, means[1], atol=1e-4)


def test_more_rank_fits_closer():
    pairs = noisy()
    errors = [np.abs(LowRank(rank=rank).fit(pairs).transform(pairs.old[0]) - pairs.new[0]).mean() for rank in (1, 3, 5)]
    assert errors[0] > 1.3 * errors[1] > 1.3 * errors[2]


def test_ranks_that_cannot_be():
    with pytest.raises(SettingsError, match="rank of low-rank must be at least 1, found 0"):
        LowRank(rank=0)
    with pytest.raises(TransformError, match="rank 7 is above the smaller dimension, 6"):
        LowRank(rank=7).fit(noisy())
