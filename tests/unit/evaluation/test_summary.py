from __future__ import annotations

import numpy as np
import pytest

from bict.embeddings import Embeddings, normalise
from bict.errors import DataError, SpaceError
from bict.evaluation.compatibility import recovered_share, update_gain
from bict.evaluation.flips import flip_rates
from bict.evaluation.significance import bootstrap_interval
from bict.evaluation.summary import evaluate_pair
from bict.spaces import Space

NAMES = {"name": "self-test", "query_name": "old", "gallery_name": "old"}


def embeddings(vectors, labels, first_id=0, fingerprint="a" * 16):
    vectors = normalise(np.asarray(vectors, np.float32))
    space = Space(name="test", fingerprint=fingerprint, dim=vectors.shape[1])
    return Embeddings(np.arange(first_id, first_id + len(vectors)), vectors, space, labels)


@pytest.fixture
def pair():
    # gallery at 0, 20, 40, 90 degrees; query at 5 degrees: order 0, 1, 2, 3; query at 85 degrees: order 3, 2, 1, 0
    angles = np.radians([0, 20, 40, 90])
    gallery = embeddings(np.stack([np.cos(angles), np.sin(angles)], 1), ["a", "b", "a", "b"])
    angles = np.radians([5, 85, 50])
    query = embeddings(np.stack([np.cos(angles), np.sin(angles)], 1), ["a", "a", "none"], first_id=10)
    return query, gallery


def test_by_hand(pair):
    # query 0 finds "a" at ranks 1, 3: AP (1 + 2/3) / 2 = 5/6; query 1 at ranks 2, 4: AP (1/2 + 2/4) / 2 = 1/2
    # query 2 has no relevant row and is skipped
    result = evaluate_pair(*pair, name="cross-test", query_name="new", gallery_name="old", ks=(1, 2, 10))
    assert (result.name, result.query, result.gallery) == ("cross-test", "new", "old")
    assert result.scores == pytest.approx(
        {"map": 2 / 3, "map@100": 2 / 3, "recall@1": 0.5, "recall@2": 1, "recall@10": 1}
    )
    np.testing.assert_allclose(result.per_query["map"], [5 / 6, 1 / 2, np.nan])
    np.testing.assert_array_equal(result.per_query["recall@1"], [1, 0, np.nan])


def test_default_keys_and_intervals(pair):
    result = evaluate_pair(*pair, **NAMES, seed=7)
    assert set(result.scores) == set(result.intervals) == set(result.per_query)
    assert set(result.scores) == {"map", "map@100", "recall@1", "recall@10"}
    for key, (low, high) in result.intervals.items():
        assert low <= result.scores[key] <= high
        assert (low, high) == bootstrap_interval(result.per_query[key], seed=7)


def test_map_at_100_leaves_later_rows_out():
    # 150 rows in known order, relevant at ranks 1 and 150: AP (1 + 2/150) / 2, AP@100 1/2
    angles = np.linspace(0, 1, 150)
    labels = ["a", *["b"] * 148, "a"]
    gallery = embeddings(np.stack([np.cos(angles), np.sin(angles)], 1), labels)
    result = evaluate_pair(embeddings([[1, 0]], ["a"], first_id=999), gallery, **NAMES)
    assert result.scores["map"] == pytest.approx((1 + 2 / 150) / 2)
    assert result.scores["map@100"] == 0.5


def test_zero_counts_queries_without_positives(pair):
    result = evaluate_pair(*pair, **NAMES, no_positives="zero")
    assert result.scores["map"] == pytest.approx((5 / 6 + 1 / 2) / 3)
    with pytest.raises(DataError, match=r"^1 of 3 queries have no relevant gallery row"):
        evaluate_pair(*pair, **NAMES, no_positives="error")


@pytest.mark.parametrize("policy", ["skip", "zero", "error"])
def test_no_positive_at_all_is_refused(pair, policy):
    query, gallery = pair
    with pytest.raises(
        DataError, match=r"^self-test: none of 1 queries has a relevant row among 4 gallery rows: [^\n]*$"
    ):
        evaluate_pair(query.take(np.array([2])), gallery, **NAMES, no_positives=policy)


def test_self_matches_are_excluded_unless_asked_for(pair):
    _, gallery = pair
    assert evaluate_pair(gallery, gallery, **NAMES).scores["recall@1"] < 1
    assert evaluate_pair(gallery, gallery, **NAMES, exclude_self=False).scores["recall@1"] == 1


def test_incomparable_spaces_are_refused(pair):
    query, _ = pair
    with pytest.raises(SpaceError):
        evaluate_pair(query, embeddings([[1, 0]], ["a"], fingerprint="b" * 16), **NAMES)


def test_two_systems_line_up_for_shares_and_flips():
    # the new system equals the old one on half of the queries and is perfect on the others: flips go one way only
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((10, 16))
    labels = np.repeat(np.arange(10), 6)
    gallery = embeddings(centres[labels] + rng.standard_normal((60, 16)), labels)
    old_query = centres[labels] + 3 * rng.standard_normal((60, 16))
    new_query = np.where((labels % 2 == 0)[:, None], centres[labels], old_query)
    old, new, oracle = (
        evaluate_pair(embeddings(vectors, labels, first_id=100), gallery, **NAMES)
        for vectors in (old_query, new_query, centres[labels])
    )
    scores = new.scores["map"], old.scores["map"], oracle.scores["map"]
    assert 0 < update_gain(*scores).value < 1
    assert recovered_share(scores[2], scores[1], scores[2]).value == 1
    again, other = (
        evaluate_pair(embeddings(old_query, labels, first_id=100), gallery, **NAMES, seed=seed).intervals["map"]
        for seed in (0, 1)
    )
    assert again == old.intervals["map"] != other
    flips = flip_rates(old.per_query["recall@1"], new.per_query["recall@1"])
    assert flips.negative <= flips.positive
    assert new.scores["recall@1"] - old.scores["recall@1"] == pytest.approx(flips.positive - flips.negative)
