from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.evaluation import counting
from bict.evaluation.counting import from_keys, ranks_among, sort_keys

LARGEST = float(np.finfo(np.float32).max)


def slow_ranks(similarity, few):
    """Python sorts only."""
    order = sorted(range(len(similarity)), key=lambda row: (-float(similarity[row]), row))
    return [rank for rank, row in enumerate(order, 1) if row in set(few.tolist())]


def test_hand_worked_ranks():
    # falling: .9 (row 3), .5 (row 1), .5 (row 4), .2 (row 0), -.1 (row 2)
    similarity = np.float32([0.2, 0.5, -0.1, 0.9, 0.5])
    for few, expected in (([0], [4]), ([4], [3]), ([1, 2], [2, 5]), ([0, 1, 2, 3, 4], [1, 2, 3, 4, 5]), ([], [])):
        assert ranks_among(similarity, np.array(few, np.int64)).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6), rows=st.integers(1, 200), grid=st.sampled_from([None, 1, 5]), tile=st.integers(1, 90)
)
def test_ranks_equal_slow_reference(seed, rows, grid, tile):
    rng = np.random.default_rng(seed)
    similarity = rng.standard_normal(rows) if grid is None else rng.integers(-grid, grid + 1, rows) / grid
    similarity = similarity.astype(np.float32)
    few = np.flatnonzero(rng.random(rows) < rng.random())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "TILE", tile)
        assert ranks_among(similarity, few).tolist() == slow_ranks(similarity, few)


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(
        st.one_of(
            st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1e-38, 1, 1 + 2**-23, LARGEST, -LARGEST, np.inf, -np.inf]),
            st.floats(width=32, allow_nan=False),
        ),
        min_size=1,
        max_size=40,
    ),
    data=st.data(),
)
def test_no_value_is_too_large_or_too_close(values, data):
    few = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    assert ranks_among(np.float32(values), few).tolist() == slow_ranks(np.float32(values), few)


def test_an_outlier_among_the_few_changes_nothing():
    # all rows but one lie in one bin
    similarity = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    similarity[7] = -1e9
    few = np.array([7, 100, 2999])
    assert ranks_among(similarity, few).tolist() == slow_ranks(similarity, few)


def test_only_rows_near_the_few_are_sorted(monkeypatch):
    sorted_rows = []

    def counted(similarity, rows):
        sorted_rows.append(len(rows))
        return sort_keys(similarity, rows)

    monkeypatch.setattr(counting, "sort_keys", counted)
    similarity = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    ranks = ranks_among(similarity, np.arange(0, 100_000, 1000))
    assert ranks.tolist() == np.sort(np.argsort(np.argsort(-similarity))[::1000] + 1).tolist()
    assert sorted_rows[0] < 3000  # 100 bins of 16,384, with about 15 rows where they are fullest


def test_memory_is_a_few_bytes_a_row():
    similarity = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    few = np.arange(0, 1_000_000, 10_000)
    tracemalloc.start()
    ranks_among(similarity, few)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < counting.ROW_BYTES * len(similarity) + 3 * 2**20


def test_keys_sort_as_ranks_and_give_rows_and_similarities_back():
    similarity = np.float32([0.5, -2, np.inf, 0.0, -0.0, 0.5, -np.inf, 1e-45])
    keys = sort_keys(similarity, np.arange(8))
    order = np.argsort(keys)
    assert order.tolist() == [2, 0, 5, 7, 3, 4, 1, 6]
    assert not (keys & 1).any()
    rows, values = from_keys(keys[order])
    assert rows.tolist() == order.tolist()
    np.testing.assert_array_equal(values, similarity[order])
