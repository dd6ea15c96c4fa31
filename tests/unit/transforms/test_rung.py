from __future__ import annotations

import numpy as np
import pytest

from bict.errors import SettingsError, TransformError, VectorError
from bict.spaces import Space
from bict.transforms import Pairs, ResidualMLP
from bict.transforms.rung import require_at_least


def arrays(views: int = 2, images: int = 3) -> tuple[np.ndarray, np.ndarray]:
    old = np.arange(1, views * images * 2 + 1, dtype=np.float32).reshape(views, images, 2)
    new = np.arange(1, views * images * 3 + 1, dtype=np.float32).reshape(views, images, 3)
    return old, new


def test_flat_puts_all_images_of_the_plain_view_first():
    old, new = Pairs(*arrays()).flat()
    assert old.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]
    assert new.shape == (6, 3)
    assert new[3].tolist() == [10, 11, 12]


@pytest.mark.parametrize("index", [np.array([2, 0]), np.array([True, False, True])])
def test_take_keeps_every_view_of_the_images(index):
    old, new = arrays()
    taken = Pairs(old, new, np.array([5, 6, 7])).take(index)
    assert (taken.views, taken.images) == (2, 2)
    np.testing.assert_array_equal(taken.old, old[:, index])
    np.testing.assert_array_equal(taken.new, new[:, index])
    np.testing.assert_array_equal(taken.labels, np.array([5, 6, 7])[index])


def test_exchanged_swaps_the_sides_and_drops_the_prototypes_of_what_is_no_longer_the_target():
    old, new = arrays()
    pairs = Pairs(old, new, np.array([5, 6, 7]), np.ones((8, 3), np.float32))
    other = pairs.exchanged()
    np.testing.assert_array_equal(other.old, new)
    np.testing.assert_array_equal(other.new, old)
    np.testing.assert_array_equal(other.labels, pairs.labels)
    assert other.prototypes is None


@pytest.mark.parametrize("dims", [(2, 2), (3, 3), (3, 2)])
def test_sides_of_another_dimension_than_their_space_are_refused(dims):
    spaces = [Space(name="s", fingerprint="a" * 16, dim=dim, normalised=False) for dim in dims]
    with pytest.raises(TransformError, match=r"vectors have \d dimensions, their space s \(\d-d"):
        Pairs(*arrays()).require_spaces(*spaces)


def test_sides_of_another_length_than_their_space_says_are_refused():
    spaces = [Space(name="s", fingerprint="a" * 16, dim=dim) for dim in (2, 3)]
    with pytest.raises(VectorError, match="not of unit length"):
        Pairs(*arrays()).require_spaces(*spaces)


def test_settings_below_their_bounds_or_no_numbers_are_refused_and_defaults_pass():
    rung = ResidualMLP(lr=0.5)
    require_at_least(rung, {"lr": 0.5, "hidden": 3})
    for value in (0.4, float("nan")):
        rung.lr = value
        with pytest.raises(SettingsError, match=f"lr of mlp must be at least 0.5, found {value}"):
            require_at_least(rung, {"lr": 0.5})


def test_without_classes_leaves_out_images_and_prototypes_and_keeps_each_image_with_its_own_prototype():
    old, new = arrays(images=4)
    labels, prototypes = np.array([3, 1, 0, 3]), np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    rest = Pairs(old, new, labels, prototypes).without_classes(np.array([1, 2]))
    np.testing.assert_array_equal(rest.old, old[:, [0, 2, 3]])
    np.testing.assert_array_equal(rest.prototypes, prototypes[[0, 3]])
    np.testing.assert_array_equal(rest.prototypes[rest.labels], prototypes[[3, 0, 3]])


def test_without_classes_needs_labels():
    with pytest.raises(TransformError, match="pass labels"):
        Pairs(*arrays()).without_classes(np.array([0]))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_zero_or_infinite_vector_is_named(side, value):
    sides = dict(zip(("old", "new"), arrays(), strict=True))
    sides[side][1, 2] = value
    with pytest.raises(VectorError, match=f"1 {side} vectors are zero or not finite, the first is image 2, view 1"):
        Pairs(**sides)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new": np.ones((2, 4, 3))}, r"different length: old is \(2, 3\).*new is \(2, 4\)"),
        ({"old": np.ones((3, 2))}, r"expected old vectors of shape \(views, images, dim\)"),
        ({"old": np.ones((0, 3, 2))}, "expected old vectors"),
        ({"labels": np.array([0, 1])}, r"expected \(3,\) class indices"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "class indices"),
        ({"labels": np.array([0, -1, 2])}, "class indices from 0 on"),
        ({"prototypes": np.ones((3, 2))}, r"expected prototypes \(classes, 3\)"),
        ({"prototypes": np.full((3, 3), np.nan)}, "not finite"),
        ({"labels": np.array([0, 1, 2]), "prototypes": np.ones((2, 3))}, "label 2 has no prototype"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused_in_one_line(change, message):
    old, new = arrays()
    with pytest.raises(VectorError, match=message) as refusal:
        Pairs(**{"old": old, "new": new} | change)
    assert "\n" not in str(refusal.value)


def test_digest_changes_with_every_array():
    old, new = arrays()
    pairs = [
        Pairs(old, new),
        Pairs(old + 1, new),
        Pairs(old, new + 1),
        Pairs(old, new, np.arange(3)),
        Pairs(old, new, np.arange(3)[::-1].copy()),
        Pairs(old, new, np.arange(3), np.ones((3, 3))),
        Pairs(old.reshape(1, 6, 2), new.reshape(1, 6, 3)),
    ]
    assert len({each.digest() for each in pairs}) == len(pairs)
    assert Pairs(old, new).digest() == Pairs(old.copy(), new.copy()).digest()
