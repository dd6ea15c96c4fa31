from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.errors import DataError, SettingsError
from bict.evaluation.verification import TrueAcceptRate, true_accept_rate

GENUINE = [0.9, 0.7, 0.5, 0.3]
IMPOSTORS = [0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, -0.1, -0.2]


def pairs(genuine, impostors):
    same = np.arange(len(genuine) + len(impostors)) < len(genuine)
    return np.array([*genuine, *impostors]), same


def test_by_hand():
    # of 10 impostors far .1 lets 1 in: above .6 lie .8, and .9 and .7 of the genuine pairs: 2 of 4
    assert true_accept_rate(*pairs(GENUINE, IMPOSTORS), 0.1) == TrueAcceptRate(0.5, 0.6, 0.1)
    # .2 lets 2 in: above .5 lie .8, .6; the genuine pair at .5 is not above it: still 2 of 4
    assert true_accept_rate(*pairs(GENUINE, IMPOSTORS), 0.2) == TrueAcceptRate(0.5, 0.5, 0.2)
    # .39 lets 3 in, a part of a pair does not count: above .4 lie .9, .7, .5: 3 of 4
    assert true_accept_rate(*pairs(GENUINE, IMPOSTORS), 0.39) == TrueAcceptRate(0.75, 0.4, 0.3)


def test_ties_lower_the_rate_that_is_reached():
    # .8 could come in alone, but there are two of them: the threshold is .8, and no impostor comes in
    found = true_accept_rate(*pairs(GENUINE, [0.8, 0.8, *IMPOSTORS[2:]]), 0.1)
    assert found == TrueAcceptRate(0.25, 0.8, 0.0)


def test_rounding_does_not_lose_a_pair():
    # .29 * 100 is 28.999999999999996 in floating point: 29 impostors may be accepted
    impostors = np.arange(100) / 100
    found = true_accept_rate(*pairs([0.705], impostors), 0.29)
    assert found == TrueAcceptRate(1.0, 0.7, 0.29)


@given(
    genuine=st.lists(st.integers(-5, 5), min_size=1, max_size=20),
    impostors=st.lists(st.integers(-5, 5), min_size=10, max_size=30),
    far=st.sampled_from([0.1, 0.25, 0.5, 0.9]),
)
def test_threshold_is_the_lowest_that_keeps_the_rate(genuine, impostors, far):
    found = true_accept_rate(*pairs(genuine, impostors), far)
    assert found.false_accept_rate == np.mean([s > found.threshold for s in impostors]) <= far
    assert found.rate == np.mean([s > found.threshold for s in genuine])
    lower = found.threshold - 0.5  # between two whole numbers
    assert np.mean([s > lower for s in impostors]) > far


def test_too_few_impostors_say_how_many_are_needed():
    with pytest.raises(DataError, match=r"^found 10 impostor pairs, expected at least 1000 for far=0.001$"):
        true_accept_rate(*pairs(GENUINE, IMPOSTORS), 1e-3)
    with pytest.raises(DataError, match=r"^found 0 impostor pairs, expected at least 4 for far=0.3$"):
        true_accept_rate(*pairs(GENUINE, []), 0.3)


@pytest.mark.parametrize("far", [0, 1, -0.1, 5, math.nan])
def test_impossible_rates_are_refused(far):
    with pytest.raises(SettingsError, match=r"^found far="):
        true_accept_rate(*pairs(GENUINE, IMPOSTORS), far)


def test_unusable_pairs_are_refused():
    scores, same = pairs(GENUINE, IMPOSTORS)
    for unusable in (same[1:], same.astype(int), same[:, None]):
        with pytest.raises(DataError, match=r"^found similarities of shape \(14,\) and flags"):
            true_accept_rate(scores, unusable, 0.1)
    with pytest.raises(DataError, match=r"^1 of 14 similarities are NaN"):
        true_accept_rate(np.where(scores == 0.9, math.nan, scores), same, 0.1)
    with pytest.raises(DataError, match=r"^none of 10 pairs is of one person"):
        true_accept_rate(*pairs([], IMPOSTORS), 0.1)
