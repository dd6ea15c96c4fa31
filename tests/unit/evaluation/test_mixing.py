from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError, SpaceError, VectorError
from bict.evaluation.backfill import backfilled_rows, random_order
from bict.evaluation.mixing import fused, rank_merged
from bict.evaluation.ranking import nearest
from bict.evaluation.summary import evaluate_pair
from bict.spaces import Space

OLD = Space(name="old", fingerprint="a" * 16, dim=4)
NEW = Space(name="new", fingerprint="b" * 16, dim=6)
NAMES = {"name": "mix", "query_name": "both", "gallery_name": "both"}
HALF = np.arange(20) % 2 == 0


def embeddings(seed, space, rows=20, first_id=0):
    labels = np.arange(rows) % 5
    vectors = np.random.default_rng(seed).standard_normal((rows, space.dim)) + np.eye(5, space.dim)[labels]
    return Embeddings(np.arange(first_id, first_id + rows), normalise(vectors.astype(np.float32)), space, labels)


def two_systems(seed=0):
    """Old and new queries, old and new gallery, in the order in which both functions take them."""
    queries = embeddings(seed, OLD, rows=7, first_id=100), embeddings(seed + 1, NEW, rows=7, first_id=100)
    return *queries, embeddings(seed + 2, OLD), embeddings(seed + 3, NEW)


def slow_scores(query, gallery):
    """One product after the other, in Python's floats."""
    return np.array(
        [
            [math.fsum(x * y for x, y in zip(q, g, strict=True)) for g in gallery.vectors.tolist()]
            for q in query.vectors.tolist()
        ]
    )


def slow_map(scores, query, gallery):
    """Sort each row of scores, and walk down it."""
    found = []
    for row, label in zip(scores, query.labels, strict=True):
        relevant = gallery.labels[np.argsort(-row, kind="stable")] == label
        found.append(np.mean(np.cumsum(relevant)[relevant] / (np.flatnonzero(relevant) + 1)))
    return np.mean(found)


def test_fusion_by_hand():
    # first system: query (1, 0), gallery (.6, .8), (0, 1): scores .6, 0; second: query (1), gallery (-1), (1)
    # weights 1 and .5: .6 - .5 = .1 and 0 + .5 = .5
    plane, line = Space(name="plane", fingerprint="c" * 16, dim=2), Space(name="line", fingerprint="d" * 16, dim=1)
    queries = Embeddings([9], [[1, 0]], plane), Embeddings([9], [[1]], line)
    galleries = Embeddings([0, 1], [[0.6, 0.8], [0, 1]], plane), Embeddings([0, 1], [[-1], [1]], line)
    rows, scores = nearest(*fused(*queries, *galleries, (1, 0.5)), 2)
    assert rows.tolist() == [[1, 0]]
    np.testing.assert_allclose(scores, [[0.5, 0.1]], atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), a=st.sampled_from([0.25, 1.0, 3.0]), b=st.sampled_from([0.5, 1.0]))
def test_fusion_equals_slow_reference(seed, a, b):
    q_1, q_2, g_1, g_2 = systems = two_systems(seed)
    expected = a * slow_scores(q_1, g_1) + b * slow_scores(q_2, g_2)
    query, gallery = fused(*systems, (a, b))
    np.testing.assert_allclose(query.vectors @ gallery.vectors.T, expected, atol=1e-5)
    assert evaluate_pair(query, gallery, **NAMES).scores["map"] == pytest.approx(slow_map(expected, q_1, g_1))


def test_a_weight_of_zero_leaves_the_other_system_alone():
    q_1, q_2, g_1, g_2 = systems = two_systems()
    for weights, alone in (((1, 0), (q_1, g_1)), ((0, 1), (q_2, g_2))):
        rows, scores = nearest(*fused(*systems, weights), 20)
        expected_rows, expected_scores = nearest(*alone, 20)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-7)


def test_weights_that_add_up_to_one_keep_unit_vectors():
    for side in fused(*two_systems(), (0.3, 0.7)):
        np.testing.assert_allclose(np.linalg.norm(side.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("weights", [(0, 0), (-1, 1), (1, math.nan), (math.inf, 1)])
def test_unusable_weights_are_refused(weights):
    with pytest.raises(SettingsError, match=r"^found weights"):
        fused(*two_systems(), weights)


def test_merge_by_hand():
    # row 0 is old: .6; row 1 is backfilled: its new score .8, not its old score 1; row 2 is old: 0
    plane, line = Space(name="plane", fingerprint="c" * 16, dim=2), Space(name="line", fingerprint="d" * 16, dim=2)
    queries = Embeddings([9], [[1, 0]], plane), Embeddings([9], [[0, 1]], line)
    old = Embeddings([0, 1, 2], [[0.6, 0.8], [1, 0], [0, 1]], plane)
    new = Embeddings([0, 1, 2], [[1, 0], [0.6, 0.8], [0, 1]], line)
    rows, scores = nearest(*rank_merged(*queries, old, new, np.array([False, True, False])), 3)
    assert rows.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(scores, [[0.8, 0.6, 0]], atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), ratio=st.floats(0, 1))
def test_merge_equals_slow_reference(seed, ratio):
    q_old, q_new, g_old, g_new = systems = two_systems(seed)
    mask = backfilled_rows(random_order(20, seed=seed), ratio)
    expected = np.where(mask, slow_scores(q_new, g_new), slow_scores(q_old, g_old))
    query, gallery = rank_merged(*systems, mask)
    np.testing.assert_allclose(query.vectors @ gallery.vectors.T, expected, atol=1e-5)
    assert evaluate_pair(query, gallery, **NAMES).scores["map"] == pytest.approx(slow_map(expected, q_old, g_old))


def test_a_merge_begins_with_the_old_system_and_ends_with_the_new():
    q_old, q_new, g_old, g_new = systems = two_systems()
    for done, alone in ((False, (q_old, g_old)), (True, (q_new, g_new))):
        rows, scores = nearest(*rank_merged(*systems, np.full(20, done)), 20)
        expected_rows, expected_scores = nearest(*alone, 20)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-7)


def test_ids_and_labels_stay_so_that_a_query_does_not_find_itself():
    _, _, g_old, g_new = two_systems()
    for query, gallery in (
        fused(g_old, g_new, g_old, g_new, (1, 1)),
        rank_merged(g_old, g_new, g_old, g_new, HALF),
    ):
        rows, _ = nearest(query, gallery, 1)
        assert (rows[:, 0] != np.arange(20)).all()
        assert gallery.labels.tolist() == query.labels.tolist() == g_old.labels.tolist()


def test_a_mix_compares_with_nothing_but_itself():
    systems = two_systems()
    pairs = [fused(*systems, (1, 1)), fused(*systems, (1, 0.5)), rank_merged(*systems, HALF), systems[::2]]
    pairs.append(fused(*(systems[place] for place in (1, 0, 3, 2)), (1, 1)))
    for i, (query, _) in enumerate(pairs):
        for j, (_, gallery) in enumerate(pairs):
            if i == j:
                nearest(query, gallery, 1)
            else:
                with pytest.raises(SpaceError, match="cannot be compared"):
                    nearest(query, gallery, 1)


def test_one_space_serves_all_ratios_of_a_backfill():
    # so that the queries are embedded once
    systems = two_systems()
    early, late = (rank_merged(*systems, np.arange(20) < rows) for rows in (5, 15))
    assert early[0].space.same_as(late[1].space)


def mixes():
    return [
        pytest.param(lambda *systems: fused(*systems, (1, 1)), id="fused"),
        pytest.param(lambda *systems: rank_merged(*systems, HALF), id="merged"),
    ]


@pytest.mark.parametrize("mix", mixes())
def test_what_is_no_pair_of_systems_is_refused(mix):
    q_1, q_2, g_1, g_2 = two_systems()
    with pytest.raises(SpaceError, match="cannot be compared"):
        mix(q_1, q_2, g_2, g_1)
    with pytest.raises(VectorError, match=r"queries: found 7 and 6 rows"):
        mix(q_1, q_2.take(np.arange(6)), g_1, g_2)
    with pytest.raises(VectorError, match=r"gallery: ids: 20 of 20 differ"):
        mix(q_1, q_2, g_1, g_2.take(np.arange(20)[::-1]))
    relabelled = Embeddings(g_2.ids, g_2.vectors, g_2.space, g_2.labels[::-1])
    with pytest.raises(VectorError, match=r"gallery: labels: \d+ of 20 differ"):
        mix(q_1, q_2, g_1, relabelled)


@pytest.mark.parametrize("mix", mixes())
@pytest.mark.parametrize("place", [0, 1])
def test_vectors_of_any_length_are_refused(mix, place):
    systems = list(two_systems())
    loose = systems[place].space.model_copy(update={"normalised": False})
    for side in (place, place + 2):
        systems[side] = Embeddings(systems[side].ids, systems[side].vectors * 2, loose, systems[side].labels)
    with pytest.raises(SpaceError, match=r"is not normalised: give vectors of spaces of unit length$"):
        mix(*systems)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(VectorError, match=r"^found a mask of shape \(19,\)"):
        rank_merged(*two_systems(), HALF[1:])
