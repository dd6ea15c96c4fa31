from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.embeddings import Embeddings, normalise
from bict.errors import DataError, SettingsError, SpaceError, VectorError
from bict.evaluation.backfill import (
    BACKFILL_RATIOS,
    BackfillCurve,
    backfilled_rows,
    farthest_first,
    mixed_gallery,
    random_order,
    uncertain_first,
)
from bict.evaluation.summary import evaluate_pair
from bict.spaces import Space

OLD = Space(name="old", fingerprint="a" * 16, dim=8)
NEW = Space(name="new", fingerprint="b" * 16, dim=8, backward_compatible_with=(OLD.fingerprint,))
FREE = Space(name="free", fingerprint="c" * 16, dim=8)
NAMES = {"name": "backfill", "query_name": "new", "gallery_name": "mixed"}


def embeddings(seed, space=NEW, rows=30, first_id=0):
    labels = np.arange(rows) % 6
    vectors = np.random.default_rng(seed).standard_normal((rows, space.dim)) + np.eye(6, space.dim)[labels]
    return Embeddings(np.arange(first_id, first_id + rows), normalise(vectors.astype(np.float32)), space, labels)


def test_curve_by_hand():
    # trapezoids (.4 + .2) / 2 * .5 + (.2 + .8) / 2 * .5 = .15 + .25
    curve = BackfillCurve((0.0, 0.5, 1.0), (0.4, 0.2, 0.8))
    assert curve.area == pytest.approx(0.4)
    assert curve.worst == (0.5, 0.2)
    assert not curve.monotone
    # a wide step counts for more: (.0 + .8) / 2 * .25 + (.8 + .8) / 2 * .75 = .1 + .6
    rising = BackfillCurve((0.0, 0.25, 1.0), (0.0, 0.8, 0.8))
    assert rising.area == pytest.approx(0.7)
    assert rising.worst == (0.0, 0.0)
    assert rising.monotone


@given(score=st.floats(-100, 100), inner=st.sets(st.floats(0.01, 0.99), max_size=5))
def test_a_constant_curve_has_its_constant_as_area(score, inner):
    ratios = (0.0, *sorted(inner), 1.0)
    curve = BackfillCurve(ratios, (score,) * len(ratios))
    assert curve.area == pytest.approx(score)
    assert curve.worst == (0, score)
    assert curve.monotone


@pytest.mark.parametrize("ratios", [(0.0, 0.5), (0.5, 1.0), (0.0, 0.5, 0.5, 1.0), (0.0, 0.6, 0.4, 1.0), (0.0,), ()])
def test_ratios_that_do_not_cover_the_backfill_are_refused(ratios):
    with pytest.raises(DataError, match=r"^found ratios .*, expected them to rise from 0 to 1$"):
        BackfillCurve(ratios, (0.5,) * len(ratios))


@pytest.mark.parametrize("scores", [(0.5,), (0.5, math.nan), (0.5, 0.5, 0.5)])
def test_a_curve_needs_a_score_for_each_ratio(scores):
    with pytest.raises(DataError, match=r"^found scores .*, expected a finite number for each ratio"):
        BackfillCurve((0.0, 1.0), scores)


def test_random_order_is_a_permutation_by_seed():
    assert sorted(random_order(50, seed=1).tolist()) == list(range(50))
    assert random_order(50, seed=1).tolist() == random_order(50, seed=1).tolist() != random_order(50, seed=2).tolist()


def test_uncertain_rows_first():
    assert uncertain_first(np.array([0.1, 0.9, 0.5, 0.9])).tolist() == [1, 3, 2, 0]
    for unusable in (np.array([0.1, math.nan]), np.zeros((2, 2))):
        with pytest.raises(DataError, match=r"^found uncertainties of shape"):
            uncertain_first(unusable)


def test_rows_far_from_their_class_mean_first():
    # class a at 0, 3, 9 (mean 4): 4, 1, 5 away; class b at 100, 104 (mean 102): 2, 2 away, the lower row first
    space = Space(name="line", fingerprint="d" * 16, dim=2, metric="l2", normalised=False)
    vectors = np.array([[100, 1], [0, 1], [104, 1], [3, 1], [9, 1]], np.float32)
    stored = Embeddings(np.arange(5), vectors, space, np.array(["b", "a", "b", "a", "a"]))
    assert farthest_first(stored).tolist() == [4, 1, 0, 2, 3]
    with pytest.raises(VectorError, match="has no labels"):
        farthest_first(Embeddings(np.arange(5), vectors, space))


def test_rows_at_a_ratio_by_hand():
    # order 2, 0, 3, 1: places of rows 0 to 3 are 1, 3, 0, 2
    order = np.array([2, 0, 3, 1])
    assert backfilled_rows(order, 0).tolist() == [False] * 4
    assert backfilled_rows(order, 0.25).tolist() == [False, False, True, False]
    assert backfilled_rows(order, 0.3).tolist() == [True, False, True, False]  # places 0 and 1 are below 1.2
    assert backfilled_rows(order, 0.75).tolist() == [True, False, True, True]
    assert backfilled_rows(order, 1).tolist() == [True] * 4


@given(percent=st.integers(0, 100), hundreds=st.integers(1, 9), seed=st.integers(0, 99))
def test_as_many_rows_as_the_ratio_says_and_none_is_undone(percent, hundreds, seed):
    order = random_order(100 * hundreds, seed=seed)
    now = backfilled_rows(order, percent / 100)
    assert now.sum() == percent * hundreds  # .07 * 100 is 7.000000000000001: 7 rows, not 8
    assert (now <= backfilled_rows(order, min(1, percent / 100 + 0.1))).all()


def test_an_order_names_every_row_once():
    for order in ([0, 0, 1], [1, 2, 3], [[0, 1]], [0.5, 1.0]):
        with pytest.raises(DataError, match=r"^found an order of shape"):
            backfilled_rows(np.array(order), 0.5)
    for ratio in (-0.1, 1.1, math.nan):
        with pytest.raises(SettingsError, match=r"^found ratio="):
            backfilled_rows(np.arange(3), ratio)


@pytest.mark.parametrize("stored_space", [OLD, NEW])
def test_mixed_gallery_takes_each_row_from_where_the_mask_says(stored_space):
    stored, reembedded = embeddings(1, stored_space), embeddings(2)
    mask = backfilled_rows(random_order(30, seed=3), 0.5)
    mixed = mixed_gallery(stored, reembedded, mask)
    assert mixed.space.same_as(NEW)
    assert mixed.ids.tolist() == stored.ids.tolist()
    assert mixed.labels.tolist() == stored.labels.tolist()
    for row, taken in enumerate(mask):
        np.testing.assert_array_equal(mixed.vectors[row], (reembedded if taken else stored).vectors[row])


def test_the_ends_of_the_curve_are_the_pure_galleries():
    query, stored, reembedded = embeddings(4, first_id=100), embeddings(1, OLD), embeddings(2)
    order = random_order(30, seed=0)
    scores = [
        evaluate_pair(query, mixed_gallery(stored, reembedded, backfilled_rows(order, ratio)), **NAMES).scores["map"]
        for ratio in BACKFILL_RATIOS
    ]
    pure = [evaluate_pair(query, gallery, **NAMES).scores["map"] for gallery in (stored, reembedded)]
    assert [scores[0], scores[-1]] == pure
    assert len(set(scores)) == 5


def test_what_cannot_be_one_gallery_is_refused():
    stored, reembedded, mask = embeddings(1, OLD), embeddings(2), np.zeros(30, np.bool_)
    with pytest.raises(SpaceError, match="cannot be compared"):
        mixed_gallery(embeddings(1, FREE), reembedded, mask)
    with pytest.raises(SpaceError, match="cannot be compared"):
        mixed_gallery(reembedded, stored, mask)  # old queries may not search new vectors
    with pytest.raises(VectorError, match=r"^stored and re-embedded gallery: ids: 30 of 30 differ"):
        mixed_gallery(stored, embeddings(2, first_id=1), mask)
    with pytest.raises(VectorError, match=r"^found a mask of shape \(29,\)"):
        mixed_gallery(stored, reembedded, mask[1:])
