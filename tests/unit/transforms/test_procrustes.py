from __future__ import annotations

import numpy as np
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
