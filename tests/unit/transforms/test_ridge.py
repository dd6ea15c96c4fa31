from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from bict.errors import SettingsError, TransformError
from bict.transforms import Pairs, Ridge


def noisy(images: int, dim: int = 12, noise: float = 1.0, new_dim: int = 5, classes: int | None = None) -> Pairs:
    rng = np.random.default_rng(5)
    old = rng.normal(1, 1, size=(2, images, dim))
    weight = rng.normal(size=(dim, new_dim)) / dim
    new = 3 + old @ weight + noise * rng.normal(size=(2, images, new_dim))
    return Pairs(old, new, None if classes is None else np.arange(images) % classes)


@pytest.mark.parametrize("images", [8, 200])
def test_equals_scikit_learn_for_the_chosen_penalty(images):
    pairs = noisy(images)
    ours = Ridge().fit(pairs)
    reference = Reference(alpha=ours.alpha_, solver="svd").fit(*(side.astype(float) for side in pairs.flat()))
    np.testing.assert_allclose(ours.weight_.T, reference.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.bias_, reference.intercept_, atol=1e-5)


def test_recovers_a_rotation(rotated):
    pairs = rotated(dim=16)
    np.testing.assert_allclose(Ridge().fit(pairs).transform(pairs.old[0]), pairs.new[0], atol=1e-4)


@pytest.mark.parametrize("classes", [None, 15])
def test_penalty_is_the_best_of_the_grid_on_the_held_out_part(classes):
    pairs, rung = noisy(60, noise=0.5, classes=classes), Ridge()
    rung.fit(pairs)
    held = rung._hold_out(pairs)
    if classes:
        assert not set(pairs.labels[held]) & set(pairs.labels[~held])
    old, new = (side.astype(float) for side in pairs.take(~held).flat())
    judged, scores = pairs.take(held), []
    for penalty in rung.penalties:
        alpha = penalty * np.linalg.eigvalsh(np.cov(old.T, bias=True) * len(old)).mean()
        mapped = Reference(alpha=alpha).fit(old, new).predict(judged.old[0].astype(float))
        cosine = (
            (mapped * judged.new[0]).sum(1) / np.linalg.norm(mapped, axis=1) / np.linalg.norm(judged.new[0], axis=1)
        )
        scores.append(cosine.mean())
    whole = pairs.flat()[0].astype(float)
    chosen = rung.alpha_ / (np.linalg.eigvalsh(np.cov(whole.T, bias=True)).mean() * len(whole))
    assert chosen == pytest.approx(rung.penalties[int(np.argmax(scores))])


def test_noise_asks_for_a_larger_penalty():
    assert Ridge().fit(noisy(30, noise=1.0)).alpha_ > 100 * Ridge().fit(noisy(30, noise=1e-4)).alpha_


def test_few_classes_fall_back_to_images():
    pairs = noisy(40, classes=3)
    assert Ridge()._hold_out(pairs).sum() == 8


def test_old_vectors_that_are_all_equal_give_the_mean():
    pairs = Pairs(np.ones((1, 10, 4)), np.random.default_rng(0).normal(1, 0.1, (1, 10, 3)))
    np.testing.assert_allclose(Ridge().fit(pairs).transform(pairs.old[0])[0], pairs.new[0].mean(0), atol=1e-5)


def test_one_image_is_too_few():
    with pytest.raises(TransformError, match="2 images or more"):
        Ridge().fit(Pairs(np.ones((3, 1, 2)), np.ones((3, 1, 2))))


@pytest.mark.parametrize("penalties", [(), (0.0,), (1.0, -1.0)])
def test_penalties_must_be_above_0(penalties):
    with pytest.raises(SettingsError, match="penalties above 0"):
        Ridge(penalties=penalties)
