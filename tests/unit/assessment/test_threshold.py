from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.assessment import threshold
from bict.assessment.threshold import carry_threshold
from bict.embeddings import Embeddings, normalise
from bict.errors import DataError, SettingsError, SpaceError, VectorError
from bict.spaces import Space

LINE = {
    name: Space(name=name, fingerprint=letter * 16, dim=1, metric="dot", normalised=False)
    for name, letter in (("old", "a"), ("new", "b"))
}
UNIT = {name: Space(name=name, fingerprint=letter * 16, dim=8) for name, letter in (("old", "a"), ("new", "b"))}


def line(old, upgraded, new, labels=None):
    """Items of one number each, so that a similarity is a product."""
    sides = {"old": (old, "old"), "upgraded": (upgraded, "new"), "new": (new, "new")}
    return {
        name: Embeddings(
            np.arange(len(old)),
            np.asarray(numbers, np.float32)[:, None],
            LINE[space],
            None if labels is None else np.asarray(list(labels)),
        )
        for name, (numbers, space) in sides.items()
    }


def unit(centres, noise, seed, labels=None):
    """Items around their centres `(items, 8)`; both models and psi see them with noise of their own."""
    rng = np.random.default_rng(seed)
    sides = {"old": "old", "upgraded": "new", "new": "new"}
    vectors = {name: normalise((centres + noise * rng.normal(size=centres.shape)).astype(np.float32)) for name in sides}
    return {name: Embeddings(np.arange(len(centres)), vectors[name], UNIT[sides[name]], labels) for name in sides}


def slow(old_threshold, old, upgraded, new):
    """All pairs, and of all thresholds at or just above a similarity the lowest with no more false matches."""
    pairs = [(q, g) for q in range(len(old)) for g in range(len(old)) if q != g]
    same = [old.labels is not None and old.labels[q] == old.labels[g] for q, g in pairs]
    before = [float(old.vectors[q] @ old.vectors[g]) for q, g in pairs]
    after = [float(new.vectors[q] @ upgraded.vectors[g]) for q, g in pairs]

    def rate(scores, least, kind):
        passed = [score >= least for score, match in zip(scores, same, strict=True) if match == kind]
        return sum(passed) / len(passed) if passed else math.nan

    others = [score for score, match in zip(after, same, strict=True) if not match]
    above = [float(np.nextafter(np.float32(score), np.float32(np.inf))) for score in others]
    allowed = rate(before, old_threshold, False)
    best = min(least for least in [min(others), *above] if rate(after, least, False) <= allowed)
    return {
        "new": best,
        "false_positive_rate": allowed,
        "true_positive_rate_old": rate(before, old_threshold, True),
        "true_positive_rate_new": rate(after, best, True),
        "unmoved_false_positive_rate": rate(after, old_threshold, False),
    }


def test_by_hand():
    # a, a', b, c. Old products of pairs of two classes: 1*3 twice each of a and a' with b, 1*4 with c, 3*4: of the 10
    # ordered pairs 6 reach 4. New queries times 10 on the upgraded gallery: 30, 40, 120: the 6 best are 120 twice and
    # 40 four times, so the threshold lies just above 30. Of the matching pairs 1*1 and 1*1 none reaches either
    items = line([1, 1, 3, 4], [1, 1, 3, 4], [10, 10, 30, 40], "aabc")
    found = carry_threshold(4, **items, seed=0)
    assert found.old == 4
    assert found.new.value == pytest.approx(30, rel=1e-6)
    assert found.new.value > 30
    assert found.false_positive_rate == 0.6
    assert found.unmoved_false_positive_rate == 1
    assert (found.true_positive_rate_old, found.true_positive_rate_new) == (0, 0)


numbers = st.lists(st.sampled_from([-2, -1, 1, 2, 3]), min_size=6, max_size=6)


@settings(deadline=None, max_examples=80)
@given(
    rows=st.tuples(numbers, numbers, numbers),
    labels=st.sampled_from([None, "aabbcc", "abcdef", "aaaaab", "abcabc"]),
    old_threshold=st.sampled_from([-7, -2.5, 0, 1, 2, 4, 9, 10]),
)
def test_all_pairs_equal_slow_reference(rows, labels, old_threshold):
    items = line(*rows, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold, "BLOCK", 3)
        found = carry_threshold(old_threshold, **items, seed=0, resamples=5)
    expected = slow(old_threshold, **items)
    assert found.new.value == pytest.approx(expected.pop("new"), rel=1e-12)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, nan_ok=True), name


def test_an_upgrade_that_changes_nothing_leaves_the_threshold():
    centres = np.random.default_rng(0).normal(size=(80, 8))
    old = unit(centres, 0.1, 0, np.arange(80) % 10)["old"]
    same = Embeddings(old.ids, old.vectors, UNIT["new"], old.labels)
    found = carry_threshold(0.5, old=old, upgraded=same, new=same, seed=0)
    assert found.new.value == pytest.approx(0.5, abs=0.005)
    assert found.new.interval == pytest.approx((0.5, 0.5), abs=0.02)
    assert found.true_positive_rate_old == found.true_positive_rate_new
    assert found.unmoved_false_positive_rate == found.false_positive_rate > 0


def test_a_sample_of_pairs_estimates_what_all_give():
    labels = np.arange(300) % 30
    centres = np.random.default_rng(1).normal(size=(30, 8))[labels]
    items = unit(centres, 0.5, 1, labels)
    whole, sample = (carry_threshold(0.6, **items, seed=2, pairs=pairs, resamples=20) for pairs in (10**6, 8000))
    assert sample.new.value == pytest.approx(whole.new.value, abs=0.03)
    assert sample.false_positive_rate == pytest.approx(whole.false_positive_rate, rel=0.15)
    assert sample.true_positive_rate_new == pytest.approx(whole.true_positive_rate_new, abs=0.03)
    assert sample == carry_threshold(0.6, **items, seed=2, pairs=8000, resamples=20)
    assert sample != carry_threshold(0.6, **items, seed=3, pairs=8000, resamples=20)


@pytest.mark.parametrize("per_class", [None, 5])
def test_interval_covers_the_true_threshold(per_class):
    # the true one is that of many more items or classes; 40 judge parts of 60 items, or of 30 classes of 5
    def draw(number, seed):
        centres = np.random.default_rng(seed).normal(size=(number, 8)) * [3, 2, 1, 1, 1, 1, 1, 1]
        labels = None if per_class is None else np.repeat(np.arange(number), per_class)
        return unit(centres if labels is None else centres[labels], 0.6, seed, labels)

    truth = carry_threshold(0.7, **draw(4000, 1), seed=0, pairs=400_000, resamples=1).new.value
    number = 60 if per_class is None else 30
    found = [carry_threshold(0.7, **draw(number, 100 + i), seed=i, resamples=100).new.interval for i in range(40)]
    assert sum(low <= truth <= high for low, high in found) >= 35
    assert np.mean([high - low for low, high in found]) < 0.1


def test_a_threshold_above_every_non_match_has_no_interval():
    labels = np.arange(40) % 8
    items = unit(np.random.default_rng(2).normal(size=(8, 8))[labels], 0.05, 2, labels)
    found = carry_threshold(0.99, **items, seed=0)
    assert found.false_positive_rate == 0
    table = items["new"].vectors @ items["upgraded"].vectors.T
    assert found.new.value == pytest.approx(table[labels[:, None] != labels].max(), abs=1e-6)
    assert all(math.isnan(end) for end in found.new.interval)
    assert found.true_positive_rate_new > found.true_positive_rate_old


def test_a_threshold_that_everything_passes_lets_everything_pass():
    items = line([1, 2, 3], [1, 2, 3], [5, 1, 2])
    found = carry_threshold(-5, **items, seed=0)
    assert (found.false_positive_rate, found.new.value) == (1, 1)
    assert math.isnan(found.true_positive_rate_old)
    assert math.isnan(found.true_positive_rate_new)


def test_memory_does_not_grow_with_the_number_of_pairs():
    rows = 20_000  # 400 million pairs
    rng = np.random.default_rng(4)
    items = line(*rng.uniform(1, 2, (3, rows)), np.arange(rows) % 1000)
    tracemalloc.start()
    carry_threshold(2, **items, seed=0, pairs=2000, resamples=5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6


@pytest.mark.parametrize("value", [1.2, -1.01, math.nan])
def test_a_cosine_outside_its_range_is_refused(value):
    items = unit(np.eye(8), 0.1, 0)
    with pytest.raises(SettingsError, match=r"^found threshold .*, expected a cosine: a number between -1 and 1$"):
        carry_threshold(value, **items, seed=0)


def test_a_threshold_of_another_metric_may_be_any_finite_number():
    items = line([1, 2, 3], [1, 2, 3], [1, 2, 3])
    assert carry_threshold(5.5, **items, seed=0).false_positive_rate == pytest.approx(1 / 3)
    with pytest.raises(SettingsError, match=r"^found threshold inf, expected a finite number$"):
        carry_threshold(math.inf, **items, seed=0)


def test_sides_must_be_the_same_items_of_comparable_spaces():
    items, other = line([1, 2], [1, 2], [1, 2], "ab"), line([1, 2], [1, 2], [1, 2], "ac")
    with pytest.raises(VectorError, match=r"^items before and after the upgrade: labels: 1 of 2 differ"):
        carry_threshold(1, **items | {"upgraded": other["upgraded"]}, seed=0)
    with pytest.raises(SpaceError, match="cannot be compared"):
        carry_threshold(1, **items | {"upgraded": items["old"]}, seed=0)


@pytest.mark.parametrize("labels", ["aa", None])
def test_items_of_one_label_have_no_false_matches_to_count(labels):
    items = line([1, 2][: 2 if labels else 1], [1, 2][: 2 if labels else 1], [1, 2][: 2 if labels else 1], labels)
    with pytest.raises(DataError, match=r"expected pairs that do not match"):
        carry_threshold(1, **items, seed=0)
