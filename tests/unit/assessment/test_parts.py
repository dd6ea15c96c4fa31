from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.assessment.parts import split_parts
from bict.errors import DataError


def names(parts, labels):
    return [set(labels[rows]) for rows in (parts.fit, parts.choose, parts.judge)]


def test_classes_by_hand():
    # 20 classes of 3 rows: 12 to fit on, 3 to choose by, 5 to judge by
    labels = np.array([f"class {row % 20}" for row in range(60)])
    parts = split_parts(labels, 60, seed=0)
    assert parts.by == "class"
    assert [len(side) for side in names(parts, labels)] == [12, 3, 5]
    assert [len(rows) for rows in (parts.fit, parts.choose, parts.judge)] == [36, 9, 15]


@pytest.mark.parametrize("labels", [None, np.repeat(np.arange(9), 12), np.arange(108)])
def test_rows_where_ten_classes_cannot_be_told(labels):
    parts = split_parts(labels, 108, seed=0)
    assert parts.by == "row"
    assert [len(rows) for rows in (parts.fit, parts.choose, parts.judge)] == [65, 16, 27]


@settings(max_examples=60)
@given(
    sizes=st.lists(st.sampled_from([1, 1, 2, 3, 30]), min_size=20, max_size=60),
    seed=st.integers(0, 5),
    rows=st.randoms(use_true_random=False),
)
def test_every_row_lies_in_one_part_and_every_class_too(sizes, seed, rows):
    labels = [str(name) for name, size in enumerate(sizes) for _ in range(size)]
    rows.shuffle(labels)
    labels = np.array(labels)
    parts = split_parts(labels, len(labels), seed=seed)
    sides = (parts.fit, parts.choose, parts.judge)
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), np.arange(len(labels)))
    assert all((np.diff(side) > 0).all() and len(side) for side in sides)
    counts = Counter(labels.tolist())
    if sum(count >= 2 for count in counts.values()) < 10:
        assert parts.by == "row"
        return
    fit, choose, judge = names(parts, labels)
    assert not fit & choose
    assert not fit & judge
    assert not choose & judge
    assert all(sum(counts[name] >= 2 for name in side) >= 2 for side in (choose, judge))


def test_order_of_rows_does_not_move_a_class():
    labels = np.repeat([f"class {number}" for number in range(15)], np.arange(15) % 4 + 1)
    order = np.random.default_rng(1).permutation(len(labels))
    plain, shuffled = (split_parts(each, len(each), seed=3) for each in (labels, labels[order]))
    assert names(plain, labels) == names(shuffled, labels[order])


@pytest.mark.parametrize("labels", [None, np.arange(200) % 40])
def test_seed_decides_the_draw(labels):
    first, same, other = (split_parts(labels, 200, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.judge, same.judge)
    assert set(first.judge) != set(other.judge)


@pytest.mark.parametrize("labels", [None, np.arange(19) % 6])
def test_few_pairs_are_refused(labels):
    with pytest.raises(DataError, match=r"^found 19 pairs, expected at least 20 .*: pass more pairs$"):
        split_parts(labels, 19, seed=0)
    assert split_parts(None, 20, seed=0).by == "row"
