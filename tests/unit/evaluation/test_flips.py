from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.errors import DataError
from bict.evaluation.flips import Flips, flip_rates

nan = math.nan


def test_by_hand():
    # 8 queries: old right on 6, new right on 5, right-to-wrong 2, wrong-to-right 1
    # negative 2/8, positive 1/8, by chance (6/8) * (3/8) = 18/64: relative (16/64) / (18/64) = 8/9
    old = np.array([1, 1, 1, 1, 1, 1, 0, 0])
    new = np.array([1, 1, 1, 1, 0, 0, 1, 0])
    flips = flip_rates(old, new)
    assert (flips.negative, flips.positive, flips.reason) == (0.25, 0.125, "")
    assert flips.relative_negative == pytest.approx(8 / 9)


def test_skipped_queries_are_ignored_in_both():
    # only queries 0 and 3 have both answers: 1 -> 0 and 0 -> 1; by chance (1/2) * (1/2): relative .5 / .25 = 2
    flips = flip_rates(np.array([1, nan, 1, 0]), np.array([0, 1, nan, 1]))
    assert flips == Flips(negative=0.5, positive=0.5, relative_negative=2.0)


@pytest.mark.parametrize(
    ("old", "new", "why"), [([0, 0], [0, 1], "the old system is never right"), ([0, 1], [1, 1], "never wrong")]
)
def test_undefined_relative_rate_says_why(old, new, why):
    flips = flip_rates(np.array(old), np.array(new))
    assert flips.negative == 0
    assert flips.positive == 0.5
    assert math.isnan(flips.relative_negative)
    assert why in flips.reason


def test_booleans_count():
    assert flip_rates(np.array([True, True]), np.array([True, False])).negative == 0.5


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, nan])] * 2), min_size=1, max_size=30))
def test_equal_to_slow_reference(pairs):
    known = [(o, n) for o, n in pairs if o == o and n == n]  # noqa: PLR0124
    old, new = np.array(pairs).T
    if not known:
        with pytest.raises(DataError, match="no query has an answer in both systems"):
            flip_rates(old, new)
        return
    flips = flip_rates(old, new)
    assert flips.negative == pytest.approx(sum(o == 1 and n == 0 for o, n in known) / len(known))
    assert flips.positive == pytest.approx(sum(o == 0 and n == 1 for o, n in known) / len(known))
    accuracies = [sum(side) / len(known) for side in zip(*known, strict=True)]
    assert accuracies[1] - accuracies[0] == pytest.approx(flips.positive - flips.negative)
    assert math.isnan(flips.relative_negative) == (accuracies[0] == 0 or accuracies[1] == 1) == bool(flips.reason)


@given(st.lists(st.sampled_from([0.0, 1.0, nan]), min_size=1).filter(lambda answers: not np.isnan(answers).all()))
def test_a_system_does_not_flip_against_itself(answers):
    flips = flip_rates(np.array(answers), np.array(answers))
    assert flips.negative == flips.positive == 0


def test_unequal_lengths_are_refused():
    with pytest.raises(DataError, match=r"^found answers of shape \(2,\) and \(3,\)"):
        flip_rates(np.zeros(2), np.zeros(3))


def test_scores_are_no_answers():
    with pytest.raises(DataError, match=r"^answers must be 0 \(wrong\) or 1 \(right\)"):
        flip_rates(np.array([0.5, 1]), np.array([1, 0]))
