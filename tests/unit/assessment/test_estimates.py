from __future__ import annotations

import numpy as np
import pytest

from bict.assessment.estimates import Bootstrap


def alone(rows):
    return Bootstrap(np.arange(rows))


def test_the_mean_is_the_mean_and_lies_in_its_interval():
    values = np.random.default_rng(0).random(200)
    found = alone(200).mean(values)
    assert found.value == pytest.approx(values.mean())
    low, high = found.interval
    assert low < found.value < high
    spread = 1.96 * values.std() / np.sqrt(200)
    assert high - low == pytest.approx(2 * spread, rel=0.1)


def test_queries_of_one_class_are_drawn_together():
    groups = np.repeat(np.arange(20), 50)
    values = np.repeat(np.random.default_rng(0).random(20), 50)  # all 50 queries of a class agree
    together, apart = Bootstrap(groups).mean(values), alone(1000).mean(values)
    width = [np.diff(found.interval)[0] for found in (together, apart)]
    assert together.value == pytest.approx(apart.value)
    assert width[0] == pytest.approx(np.sqrt(50) * width[1], rel=0.15)


def test_few_groups_are_not_trusted():
    # no difference at all, two to five classes of ten queries: the whole interval may lie above zero 2.5 times in 100
    rng = np.random.default_rng(0)
    for classes in (2, 3, 5):
        groups = np.repeat(np.arange(classes), 10)
        above = 0
        for _ in range(400):
            values = rng.standard_normal(classes)[groups] + 0.3 * rng.standard_normal(len(groups))
            above += Bootstrap(groups, resamples=200).mean(values).interval[0] > 0
        assert above / 400 < 0.05, classes
    assert np.isnan(Bootstrap(np.zeros(10, int)).mean(np.ones(10)).interval).all()


def test_a_query_without_a_score_is_left_out_of_value_and_interval():
    values = np.array([0.2, np.nan, 0.4, np.nan])
    assert alone(4).mean(values).value == pytest.approx(0.3)
    nothing = alone(2).mean(np.array([np.nan, np.nan]))
    assert np.isnan(nothing.value)
    assert np.isnan(nothing.interval).all()


def test_a_ratio_is_of_means_and_paired():
    first, second = np.array([0.1, 0.3, 0.2]), np.array([0.2, 0.6, 0.4])
    found = alone(3).ratio(first, second)
    assert found.value == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.5, 0.5))  # every resampled mean of the first is half of the second's
    assert np.isnan(alone(3).ratio(first, -second).value)
    assert np.isnan(alone(3).ratio(first, np.zeros(3)).value)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).random(50)
    assert alone(50).mean(values) == alone(50).mean(values)
    assert Bootstrap(np.arange(50), seed=1).mean(values) != alone(50).mean(values)
