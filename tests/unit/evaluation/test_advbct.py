from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.errors import DataError
from bict.evaluation.advbct import p_1, p_comp, p_up

# mAP of ResNet-18 models on RParis, ROxford and Google Landmarks v2, trained with 30 % and 100 % of the data:
# the table of results of AdvBCT (arXiv 2305.02610)
OLD = [75.45, 49.15, 10.03]
ORACLE = [81.15, 63.85, 16.48]
BCT = [80.58, 56.34, 14.61], [77.37, 49.66, 11.30]
ADVBCT = [82.78, 62.13, 15.71], [78.55, 52.31, 11.49]
INDEPENDENT = [4.93, 1.20, 0.2]
FULL_GAIN = 100 * math.e / (1 + math.e)

scores = st.lists(st.tuples(st.floats(0.01, 0.5), st.floats(0.001, 0.5)), min_size=1, max_size=5)


@pytest.mark.parametrize(("self_and_cross", "up", "comp"), [(BCT, 48.02, 54.71), (ADVBCT, 49.55, 58.09)])
def test_published_rows(self_and_cross, up, comp):
    new_self, cross = self_and_cross
    assert p_up(new_self, ORACLE).value == pytest.approx(up, abs=0.01)
    assert p_comp(cross, OLD, ORACLE).value == pytest.approx(comp, abs=0.01)


def test_published_row_of_a_model_trained_freely():
    assert p_comp(INDEPENDENT, OLD, ORACLE).value == pytest.approx(7.19, abs=0.01)


def test_by_hand():
    # tax of ln 3 times the oracle: s(-ln 3) = 1/4; gain of ln 3 times the oracle's: s(ln 3) = 3/4; mean with s(0) = 1/2
    ln3 = math.log(3)
    assert p_up([1 - ln3, 5.0], [1.0, 5.0]).value == pytest.approx(100 * (1 / 4 + 1 / 2) / 2)
    assert p_comp([1 + ln3, 3.0], [1.0, 3.0], [2.0, 4.0]).value == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    # harmonic mean of 40 and 60: 2 * 2400 / 100
    assert p_1(40, 60).value == pytest.approx(48)


@given(pairs=scores)
def test_identities(pairs):
    old = [score for score, _ in pairs]
    oracle = [score + gain for score, gain in pairs]
    assert p_up(oracle, oracle).value == 50
    assert p_comp(old, old, oracle).value == 50
    assert p_comp(oracle, old, oracle).value == pytest.approx(FULL_GAIN)
    assert pytest.approx(73.106, abs=1e-3) == FULL_GAIN


def test_a_gain_of_any_size_stays_within_the_bounds():
    assert p_comp([-1e9], [0.5], [0.5 + 1e-9]).value == 0
    assert p_comp([1e9], [0.5], [0.5 + 1e-9]).value == 100


def test_undefined_scores_name_the_data_set():
    no_gain = p_comp([0.5, 0.5], [0.4, 0.4], [0.6, 0.4])
    assert math.isnan(no_gain.value)
    assert no_gain.reason == "data set 1: the oracle (0.4) is not better than the old model (0.4)"
    no_score = p_up([0.5], [0.0])
    assert math.isnan(no_score.value)
    assert no_score.reason.startswith("data set 0: the oracle scores 0")


@pytest.mark.parametrize(("up", "comp"), [(math.nan, 50), (50, math.nan), (0, 50), (50, 0)])
def test_harmonic_mean_of_nothing_is_undefined(up, comp):
    assert math.isnan(p_1(up, comp).value)
    assert "must both be above 0" in p_1(up, comp).reason


def test_data_sets_must_line_up():
    with pytest.raises(DataError, match=r"^found scores of 1, 2, 1 data sets"):
        p_comp([0.5], [0.4, 0.4], [0.6])
    with pytest.raises(DataError, match=r"^found scores of 0, 0 data sets"):
        p_up([], [])
