from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.errors import SettingsError, TransformError
from bict.transforms.holdout import held_out_classes, held_out_images


@given(st.lists(st.integers(1, 4), min_size=3, max_size=30), st.floats(0.01, 0.99), st.integers(0, 5))
def test_held_out_classes_can_be_judged_and_leave_some_to_fit_on(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)) * 3, counts)
    eligible = {3 * at for at, count in enumerate(counts) if count >= 2}
    if len(eligible) < 2:
        with pytest.raises(TransformError, match="2 classes with 2 images"):
            held_out_classes(labels, share, seed=seed)
        return
    held = held_out_classes(labels, share, seed=seed)
    assert set(held) <= eligible
    assert 2 <= len(set(held)) == len(held) < len(counts)
    np.testing.assert_array_equal(held, held_out_classes(labels, share, seed=seed))


def test_share_is_of_the_classes_and_the_seed_draws_them():
    labels = np.repeat(np.arange(50), 2)
    draws = [tuple(held_out_classes(labels, 0.2, seed=seed)) for seed in range(3)]
    assert [len(draw) for draw in draws] == [10, 10, 10]
    assert len(set(draws)) == 3


def test_two_classes_leave_none_to_fit_on():
    with pytest.raises(TransformError, match="found 2 classes, 2 of them with 2 images"):
        held_out_classes(np.array([0, 0, 1, 1]), 0.5, seed=0)


@pytest.mark.parametrize(("images", "share", "expected"), [(10, 0.2, 2), (2, 0.01, 1), (2, 0.99, 1), (101, 0.5, 50)])
def test_held_out_images_counts(images, share, expected):
    held = held_out_images(images, share, seed=0)
    assert (held.shape, held.sum()) == ((images,), expected)


def test_one_image_cannot_be_split():
    with pytest.raises(TransformError, match="found 1"):
        held_out_images(1, 0.5, seed=0)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_share_outside_0_to_1(share):
    with pytest.raises(SettingsError, match="between 0 and 1"):
        held_out_images(10, share, seed=0)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        held_out_classes(np.repeat(np.arange(5), 2), share, seed=0)
