from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from bict.transforms import Pairs, Procrustes


def noisy(old_dim: int, new_dim: int, images: int = 100) -> Pairs:
    rng = np.random.default_rng(3)
    old = rng.normal(size=(2, images, old_dim))
    return Pairs(old, old @ rng.normal(size=(old_dim, new_dim)) + 0.3 * rng.normal(size=(2, images, new_dim)))


def test_a_quarter_turn_by_hand():
    pairs = Pairs(np.array([[[1, 0], [0, 2], [3, 0]]]), np.array([[[0, 1], [-2, 0], [0, 3]]]))
    np.testing.assert_allclose(Procrustes().fit(pairs).rotation_, [[0, 1], [-1, 0]], atol=1e-7)


def test_recovers_a_rotation_exactly(rotated):
    pairs = rotated(dim=16)
    np.testing.assert_allclose(Procrustes().fit(pairs).transform(pairs.old[0]), pairs.new[0], atol=1e-6)


def test_distances_survive_equal_and_growing_dimensions():
    for new_dim in (8, 12):
        pairs = noisy(8, new_dim)
        mapped = Procrustes().fit(pairs).transform(pairs.old[0])
        np.testing.assert_allclose(pdist(mapped), pdist(pairs.old[0]), rtol=1e-5)


def test_equals_the_svd_of_the_cross_product_and_no_rotation_is_closer():
    pairs = noisy(6, 6)
    old, new = (side.astype(float) for side in pairs.flat())
    left, _, right = np.linalg.svd(old.T @ new)
    rotation = Procrustes().fit(pairs).rotation_
    np.testing.assert_allclose(rotation, left @ right, atol=1e-6)
    best = np.linalg.norm(old @ rotation - new)
    rng = np.random.default_rng(0)
    for _ in range(20):
        nudge = np.linalg.qr(np.eye(6) + 0.05 * rng.normal(size=(6, 6)))[0]
        assert np.linalg.norm(old @ rotation @ (nudge * np.sign(np.diag(nudge))) - new) >= best - 1e-4


def test_a_step_down_cuts_the_rotation_of_the_padded_problem():
    pairs = noisy(6, 4)
    old, new = (side.astype(float) for side in pairs.flat())
    rotation = Procrustes().fit(pairs).rotation_
    left, _, right = np.linalg.svd(old.T @ new, full_matrices=False)
    assert rotation.shape == (6, 4)
    np.testing.assert_allclose(rotation, left @ right, atol=1e-6)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(4), atol=1e-6)


def test_centred_recovers_a_rotation_about_another_point_exactly():
    rng, turn = np.random.default_rng(1), np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    old = rng.normal(3, 1, size=(1, 100, 8))
    pairs = Pairs(old, (old - 3) @ turn + np.arange(8))
    mapped = Procrustes(centred=True).fit(pairs).transform(pairs.old[0])
    np.testing.assert_allclose(mapped, pairs.new[0], atol=1e-5)
    assert np.abs(Procrustes().fit(pairs).transform(pairs.old[0]) - pairs.new[0]).max() > 1


@pytest.mark.parametrize("dims", [(6, 6), (4, 9), (9, 4)])
def test_centred_equals_plain_on_centred_sides_with_the_means_put_back(dims):
    pairs = noisy(*dims)
    old, new = (side.astype(float) + offset for side, offset in zip(pairs.flat(), (2, -1), strict=True))
    about_zero = Pairs((old - old.mean(0))[None], (new - new.mean(0))[None])
    plain, centred = Procrustes().fit(about_zero), Procrustes(centred=True).fit(Pairs(old[None], new[None]))
    np.testing.assert_allclose(centred.rotation_, plain.rotation_, atol=1e-5)
    expected = plain.transform(about_zero.old[0]) + new.mean(0)
    np.testing.assert_allclose(centred.transform(old), expected, atol=1e-5)


def test_state_and_settings_from_before_there_was_centring_give_the_plain_rotation():
    pairs = noisy(6, 6)
    now = Procrustes().fit(pairs)
    assert list(now.state()) == ["rotation"]
    then = Procrustes.from_state({"rotation": now.rotation_}, {})
    np.testing.assert_array_equal(then.transform(pairs.old[0]), now.transform(pairs.old[0]))
