from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bict.errors import DataError, SettingsError
from bict.evaluation.metrics import average_precision, average_precision_at, mean, recall_at
from bict.evaluation.ranking import PositiveRanks


def ranks_of(*lists, gallery_size=1000):
    offsets = np.cumsum([0, *map(len, lists)])
    return PositiveRanks(np.array([rank for ranks in lists for rank in ranks], np.int64), offsets, gallery_size)


def slow_average_precision_at(ranks, k):
    """Walk down the ranking, row by row."""
    if not ranks:
        return float("nan")
    found = total = 0.0
    for rank in range(1, k + 1):
        if rank in ranks:
            found += 1
            total += found / rank
    return total / min(len(ranks), k)


def slow_recall_at(ranks, k):
    return float(any(rank <= k for rank in ranks)) if ranks else float("nan")


rank_lists = st.lists(st.sets(st.integers(1, 30), max_size=30).map(sorted), min_size=1, max_size=8)


def test_average_precision_by_hand():
    # ranks 1, 3, 6: (1/1 + 2/3 + 3/6) / 3 = (6 + 4 + 3) / 18 = 13/18; ranks 2: 1/2
    np.testing.assert_allclose(average_precision(ranks_of([1, 3, 6], [2])), [13 / 18, 1 / 2], rtol=1e-15)


def test_average_precision_at_k_by_hand():
    # k = 3 of ranks 1, 3, 6: m = 3, min(m, k) = 3, ranks 1 and 3 count: (1 + 2/3) / 3 = 5/9
    # k = 3 of ranks 2, 3, 4, 5: min = 3: (1/2 + 2/3) / 3 = 7/18; k = 3 of rank 4: nothing: 0
    # k = 1 of ranks 1, 3, 6: min = 1: 1; of ranks 2, 3, 4, 5: 0
    ranks = ranks_of([1, 3, 6], [2, 3, 4, 5], [4])
    np.testing.assert_allclose(average_precision_at(ranks, 3), [5 / 9, 7 / 18, 0], rtol=1e-15)
    np.testing.assert_array_equal(average_precision_at(ranks, 1), [1, 0, 0])


def test_recall_by_hand():
    ranks = ranks_of([1, 3], [2], [11, 12])
    assert recall_at(ranks, 1).tolist() == [1, 0, 0]
    assert recall_at(ranks, 2).tolist() == [1, 1, 0]
    assert recall_at(ranks, 10).tolist() == [1, 1, 0]
    assert recall_at(ranks, 11).tolist() == [1, 1, 1]


def test_k_larger_than_the_gallery():
    ranks = ranks_of([1, 3], [5], gallery_size=5)
    np.testing.assert_array_equal(average_precision_at(ranks, 99), average_precision(ranks))
    assert recall_at(ranks, 99).tolist() == [1, 1]


@pytest.mark.parametrize(
    "metric", [average_precision, lambda r, **o: average_precision_at(r, 5, **o), lambda r, **o: recall_at(r, 5, **o)]
)
@pytest.mark.parametrize("lists", [([], [1], []), ([1], [], [], [1]), ([],), ([], [])])
def test_queries_without_positives(metric, lists):
    ranks = ranks_of(*lists)
    empty = np.array([not ranks_ for ranks_ in lists])
    np.testing.assert_array_equal(metric(ranks), np.where(empty, np.nan, 1))
    np.testing.assert_array_equal(metric(ranks, no_positives="zero"), np.where(empty, 0, 1))
    with pytest.raises(
        DataError, match=rf"^{empty.sum()} of {len(lists)} queries .* the first is query {empty.argmax()}:"
    ):
        metric(ranks, no_positives="error")


def test_error_policy_accepts_complete_queries():
    assert average_precision(ranks_of([1], [2]), no_positives="error").tolist() == [1, 0.5]


def test_unknown_policy_is_refused():
    with pytest.raises(SettingsError, match="found no_positives='ignore', expected 'skip', 'zero' or 'error'"):
        average_precision(ranks_of([1]), no_positives="ignore")


@pytest.mark.parametrize("metric", [average_precision_at, recall_at])
def test_k_below_one_is_refused(metric):
    with pytest.raises(SettingsError, match="found k=0"):
        metric(ranks_of([1]), 0)


def test_mean_leaves_skipped_queries_out():
    assert mean(np.array([1, np.nan, 0.5])) == 0.75
    with pytest.raises(DataError, match=r"^none of 2 queries has a relevant gallery row"):
        mean(np.full(2, np.nan))


@given(lists=rank_lists, k=st.integers(1, 40))
def test_equal_to_slow_references(lists, k):
    ranks = ranks_of(*lists, gallery_size=30)
    np.testing.assert_allclose(
        average_precision(ranks), [slow_average_precision_at(ranks_, 30) for ranks_ in lists], rtol=1e-12
    )
    np.testing.assert_allclose(
        average_precision_at(ranks, k), [slow_average_precision_at(ranks_, k) for ranks_ in lists], rtol=1e-12
    )
    np.testing.assert_array_equal(recall_at(ranks, k), [slow_recall_at(ranks_, k) for ranks_ in lists])


@given(ranks=st.sets(st.integers(1, 50), min_size=1))
def test_equal_to_scikit_learn_without_ties(ranks):
    relevant = np.isin(np.arange(1, 51), sorted(ranks))
    expected = average_precision_score(relevant, -np.arange(1, 51))
    np.testing.assert_allclose(average_precision(ranks_of(sorted(ranks), gallery_size=50)), [expected], rtol=1e-12)


@given(lists=rank_lists)
def test_a_perfect_ranking_scores_one(lists):
    ranks = ranks_of(*[list(range(1, len(ranks_) + 1)) for ranks_ in lists])
    scores = average_precision(ranks, no_positives="zero")
    np.testing.assert_allclose(scores, [float(bool(ranks_)) for ranks_ in lists])
