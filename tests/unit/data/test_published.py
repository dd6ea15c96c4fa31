from __future__ import annotations

import numpy as np
import pytest

from bict.data.published import in_number_order, published_classes, published_images


def test_classes_are_those_of_the_published_seed():
    # numpy.random.seed(666); numpy.random.shuffle(numpy.arange(10)) gives 5 7 0 9 3 4 8 1 6 2
    assert published_classes(10, 0.3).tolist() == [5, 7, 0]
    assert published_classes(10, 0.39).tolist() == [5, 7, 0]
    assert published_classes(10, 1).tolist() == [5, 7, 0, 9, 3, 4, 8, 1, 6, 2]
    assert len(published_classes(81_313, 0.3)) == 24_393
    assert len(published_classes(10, 0.01)) == 2


def test_images_are_drawn_by_the_seed_of_their_class():
    # numpy.random.seed(666 + 2) shuffles arange(10) to 1 7 4 8 6 0 5 2 9 3; 666 + 81,312 arange(7) to 4 0 3 2 1 5 6
    assert published_images(10, 2, 0.3).tolist() == [1, 7, 4]
    assert published_images(7, 81_312, 0.3).tolist() == [4, 0]
    assert len(published_images(4, 0, 0.1)) == 1


@pytest.mark.parametrize("images", [1, 2, 3])
def test_of_few_images_the_old_model_sees_the_first(images):
    assert all(published_images(images, number, 0.9).tolist() == [0] for number in range(9))


def test_numbers_are_sorted_by_value_and_before_names():
    names = ["10", "b", "9", "a", "1", "x2", "007"]
    assert sorted(names, key=in_number_order) == ["1", "007", "9", "10", "a", "b", "x2"]


def test_the_global_random_state_is_left_alone():
    state = np.random.RandomState(0)
    np.random.set_state(state.get_state())  # noqa: NPY002
    published_classes(10, 0.3)
    assert np.random.random() == state.random()  # noqa: NPY002
