from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.errors import DataError, SettingsError, UnknownName
from bict.evaluation import significance
from bict.evaluation.significance import bootstrap_interval, paired_bootstrap, significance_marks


@pytest.fixture
def scores():
    return np.random.default_rng(0).uniform(size=400)


def test_interval_agrees_with_the_normal_approximation(scores):
    # of a mean of 400 values the interval is mean +- 1.96 * standard error, to some percent
    low, high = bootstrap_interval(scores, resamples=4000)
    error = scores.std() / 20
    assert low == pytest.approx(scores.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(scores.mean() + 1.96 * error, abs=0.15 * error)


def test_interval_covers_the_true_mean_as_often_as_promised():
    # 300 samples of 60 values with mean .5: at level .9 about 270 intervals hold .5 (standard deviation 5.2)
    rng = np.random.default_rng(1)
    intervals = [bootstrap_interval(rng.uniform(size=60), level=0.9, resamples=300, seed=i) for i in range(300)]
    assert 250 <= sum(low <= 0.5 <= high for low, high in intervals) <= 288


def test_wider_level_wider_interval(scores):
    inner, outer = (bootstrap_interval(scores, level=level) for level in (0.5, 0.99))
    assert outer[0] < inner[0] < scores.mean() < inner[1] < outer[1]


def test_seed_decides_the_interval(scores):
    assert bootstrap_interval(scores, seed=3) == bootstrap_interval(scores, seed=3)
    assert bootstrap_interval(scores, seed=3) != bootstrap_interval(scores, seed=4)


def test_skipped_queries_are_left_out(scores):
    with_holes = np.insert(scores, [0, 7, 400], np.nan)
    assert bootstrap_interval(with_holes) == bootstrap_interval(scores)


@given(value=st.floats(-10, 10), queries=st.integers(1, 50))
def test_constant_scores_have_no_width(value, queries):
    low, high = bootstrap_interval(np.full(queries, value), resamples=20)
    assert low == pytest.approx(value)
    assert high == pytest.approx(value)


def test_memory_stays_bounded(scores):
    tracemalloc.start()
    bootstrap_interval(np.tile(scores, 100), resamples=200)  # 8 million draws: 128 MB at once
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


def test_block_size_changes_nothing(scores, monkeypatch):
    whole = bootstrap_interval(scores)
    monkeypatch.setattr(significance, "BLOCK", 1000)
    assert bootstrap_interval(scores) == pytest.approx(whole, abs=1e-12)


def test_paired_difference_by_hand():
    # differences .2, .2, .2 and NaN: every resampled mean is .2: an interval without width, never reached by chance
    pair = paired_bootstrap(np.array([0.5, 0.7, 0.9, np.nan]), np.array([0.3, 0.5, 0.7, 0.1]), resamples=99)
    assert (pair.mean, pair.low, pair.high) == pytest.approx((0.2, 0.2, 0.2))
    assert pair.p_value == pytest.approx(1 / 100)


def test_equal_systems_do_not_differ(scores):
    pair = paired_bootstrap(scores, scores)
    assert (pair.mean, pair.low, pair.high, pair.p_value) == (0, 0, 0, 1)


def test_p_value_agrees_with_the_normal_approximation(scores):
    # a mean difference of 1.5 standard errors has a two-sided p of .134
    noise = np.random.default_rng(5).standard_normal(400)
    noise = (noise - noise.mean()) / noise.std()
    pair = paired_bootstrap(scores + noise + 1.5 / 20, scores, resamples=4000)
    assert pair.p_value == pytest.approx(0.134, abs=0.025)
    assert pair.low < 0 < pair.mean < pair.high


def test_pairing_finds_what_two_intervals_do_not():
    # every query gains .01 or .03 while queries differ by far more
    base = np.random.default_rng(2).uniform(size=200)
    better = base + np.tile([0.01, 0.03], 100)
    assert bootstrap_interval(better)[0] < bootstrap_interval(base)[1]
    assert paired_bootstrap(better, base).p_value < 0.01


@settings(max_examples=25)
@given(seed=st.integers(0, 1000))
def test_swapping_the_systems_changes_the_sign_only(seed):
    first, second = np.random.default_rng(seed).uniform(size=(2, 30))
    one, other = paired_bootstrap(first, second, resamples=101), paired_bootstrap(second, first, resamples=101)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.p_value == other.p_value


def test_marks_of_a_table(scores):
    # .01 better for every query, .01 worse for every query, and noise of mean 0
    noise = np.tile([0.2, -0.2], 200)
    table = {"better": scores + 0.01, "ours": scores, "worse": scores - 0.01, "like ours": scores + noise}
    assert significance_marks(table, "ours") == {"better": "+", "ours": "", "worse": "-", "like ours": ""}
    assert significance_marks(table, "worse") == {"better": "+", "ours": "+", "worse": "", "like ours": ""}


def test_marks_agree_with_the_paired_interval(scores):
    # 1.5 standard errors of the difference: inside an interval of 95 %, outside one of 50 %
    noise = np.random.default_rng(5).standard_normal(400)
    table = {"ours": scores, "other": scores + (noise - noise.mean()) / noise.std() + 1.5 / 20}
    assert significance_marks(table, "ours")["other"] == ""
    assert significance_marks(table, "ours", level=0.5)["other"] == "+"
    assert significance_marks(table, "other", level=0.5)["ours"] == "-"


def test_marks_are_wrong_by_chance_as_often_as_said():
    # 200 methods that differ from the reference by nothing but noise: about 5 % get a mark (standard deviation 3)
    rng = np.random.default_rng(6)
    table = {"reference": np.zeros(60)} | {f"method {i}": rng.standard_normal(60) for i in range(200)}
    marks = significance_marks(table, "reference", resamples=300)
    assert 2 <= sum(mark != "" for mark in marks.values()) <= 22


def test_marks_need_their_reference(scores):
    with pytest.raises(UnknownName, match=r"^unknown method 'our': did you mean 'ours'"):
        significance_marks({"ours": scores}, "our")


@pytest.mark.parametrize("values", [np.array([]), np.array([np.nan, np.nan])])
def test_no_scores_are_refused(values):
    with pytest.raises(DataError, match=r"^no query has a score"):
        bootstrap_interval(values)
    with pytest.raises(DataError, match=r"^no query has a score"):
        paired_bootstrap(values, values)


def test_different_queries_are_refused():
    with pytest.raises(DataError, match=r"^found scores of shape \(3,\) and \(4,\), expected the same queries"):
        paired_bootstrap(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize("settings", [{"level": 0.0}, {"level": 95.0}, {"resamples": 0}])
def test_impossible_settings_are_refused(settings, scores):
    with pytest.raises(SettingsError, match=f"^found {next(iter(settings))}="):
        bootstrap_interval(scores, **settings)
