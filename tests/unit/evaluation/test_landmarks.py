from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.embeddings import Embeddings
from bict.errors import DataError, SettingsError, SpaceError, VectorError
from bict.evaluation.landmarks import (
    RevisitedTruth,
    landmark_scores,
    precision_at,
    revisited_scores,
    trapezoid_precision,
    without_junk,
)
from bict.evaluation.metrics import average_precision_at
from bict.evaluation.ranking import positive_ranks
from bict.spaces import Space


def embeddings(vectors, prefix, labels=None, fingerprint="a" * 16):
    vectors = np.asarray(vectors, np.float32)
    space = Space(name="test", fingerprint=fingerprint, dim=vectors.shape[1], metric="dot", normalised=False)
    return Embeddings(np.array([f"{prefix}{row}" for row in range(len(vectors))], "U8"), vectors, space, labels)


GALLERY = embeddings([[8 - row, 1] for row in range(8)], "g")
"""Query (1, 0) ranks it g0, g1, ... g7; query (-1, 0) ranks it g7, g6, ... g0."""
QUERIES = embeddings([[1, 0], [-1, 0]], "q")
TRUTH = {
    "q0": RevisitedTruth(easy=("g5", "g1"), hard=("g3",), junk=("g0", "g2")),
    "q1": RevisitedTruth(easy=("g4",), junk=("g6",)),
}


def test_hand_worked_protocols_with_junk_between_the_positives():
    # q0 ranks: g0 junk, g1 easy, g2 junk, g3 hard, g4, g5 easy, g6, g7.
    # easy, without g0, g2, g3: g1 at 1, g5 at 3: trapezoids (1 + 1)/2 = 1 and (1/2 + 2/3)/2 = 7/12, AP = 19/24
    # medium, without g0, g2: g1 at 1, g3 at 2, g5 at 4: 1, (1 + 1)/2 = 1, (2/3 + 3/4)/2 = 17/24, AP = 65/72
    # hard, without g0, g2, g1, g5: g3 at 1, AP = 1
    # q1 ranks: g7, g6 junk, g5, g4 easy: g4 at 3, (0/2 + 1/3)/2 = 1/6 in easy and medium; it has no hard image
    scores = revisited_scores(QUERIES, GALLERY, TRUTH, ks=(1, 2, 5))
    np.testing.assert_allclose(scores["easy"].per_query["map"], [19 / 24, 1 / 6])
    np.testing.assert_allclose(scores["medium"].per_query["map"], [65 / 72, 1 / 6])
    np.testing.assert_allclose(scores["hard"].per_query["map"], [1, np.nan])
    assert {name: score.skipped for name, score in scores.items()} == {"easy": 0, "medium": 0, "hard": 1}
    assert scores["easy"].scores["map"] == pytest.approx(23 / 48)
    assert scores["medium"].scores["map"] == pytest.approx(77 / 144)
    assert scores["hard"].scores["map"] == 1
    # mP@k of q0, easy: 1 of 1, 1 of 2, and at k = min(5, 3) 2 of 3; medium: 1, 2 of 2, 3 of 4; q1: 0, 0, 1 of 3
    np.testing.assert_allclose(
        [scores["easy"].per_query[f"mp@{k}"] for k in (1, 2, 5)], [[1, 0], [1 / 2, 0], [2 / 3, 1 / 3]]
    )
    np.testing.assert_allclose(
        [scores["medium"].per_query[f"mp@{k}"] for k in (1, 2, 5)], [[1, 0], [1, 0], [3 / 4, 1 / 3]]
    )
    assert [scores["hard"].scores[f"mp@{k}"] for k in (1, 2, 5)] == [1, 1, 1]


def test_the_order_of_the_truth_and_repeated_names_change_nothing():
    turned = {
        "q1": RevisitedTruth(easy=("g4", "g4"), junk=("g6", "g6")),
        "q0": RevisitedTruth(easy=("g1", "g5"), hard=("g3",), junk=("g2", "g0")),
    }
    first, second = (revisited_scores(QUERIES, GALLERY, truth) for truth in (TRUTH, turned))
    for protocol, score in first.items():
        assert list(score.scores) == ["map", "mp@1", "mp@5", "mp@10"]
        assert second[protocol].scores == score.scores


def test_a_protocol_without_any_positive_scores_nan():
    scores = revisited_scores(QUERIES, GALLERY, {name: RevisitedTruth(easy=("g4",)) for name in TRUTH})
    assert math.isnan(scores["hard"].scores["map"])
    assert math.isnan(scores["hard"].scores["mp@10"])
    assert scores["hard"].skipped == 2


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([1], 1),
        ([2], 1 / 4),  # (0/1 + 1/2)/2; plain AP is 1/2
        ([1, 2, 3], 1),
        ([2, 4], (1 / 4 + (1 / 3 + 2 / 4) / 2) / 2),  # = 1/3; plain AP is 1/2
    ],
)
def test_the_trapezoid_is_not_the_plain_average_precision(ranks, expected):
    assert trapezoid_precision(np.array(ranks)) == pytest.approx(expected)


def slow_trapezoid(listing, positives):
    """Area under precision over recall, walked down a list that has no junk."""
    area, found, precision = 0.0, 0, 1.0
    for row, image in enumerate(listing, 1):
        found += image in positives
        if image in positives:
            area += (precision + found / row) / 2 / len(positives)
        precision = found / row
    return area


@given(st.permutations(range(9)), st.lists(st.sampled_from(["ok", "junk", "no"]), min_size=9, max_size=9))
def test_agrees_with_a_list_from_which_junk_was_taken(order, kinds):
    positives = [image for image in range(9) if kinds[image] == "ok"]
    junk = [image for image in range(9) if kinds[image] == "junk"]
    listing = [image for image in order if image not in junk]
    rank = {image: place for place, image in enumerate(order, 1)}
    ranks = without_junk(*(np.array([rank[image] for image in images], np.int64) for images in (positives, junk)))
    assert ranks.tolist() == [place for place, image in enumerate(listing, 1) if image in positives]
    if not positives:
        assert math.isnan(trapezoid_precision(ranks))
        assert math.isnan(precision_at(ranks, 3))
        return
    assert trapezoid_precision(ranks) == pytest.approx(slow_trapezoid(listing, positives))
    last = max(place for place, image in enumerate(listing, 1) if image in positives)
    head = listing[: min(4, last)]
    assert precision_at(ranks, 4) == pytest.approx(sum(image in positives for image in head) / len(head))


def test_many_blocks_give_the_same_as_one():
    rng = np.random.default_rng(0)
    gallery, query = (embeddings(rng.standard_normal((rows, 4)), name) for rows, name in ((3000, "g"), (40, "q")))
    lists = [rng.choice(3000, 12, replace=False).astype(str) for _ in range(40)]
    truth = {
        f"q{row}": RevisitedTruth(*(tuple(f"g{image}" for image in part) for part in np.split(names, 3)))
        for row, names in enumerate(lists)
    }
    small, large = (revisited_scores(query, gallery, truth, memory_mb=memory) for memory in (1, 256))
    for protocol, score in large.items():
        np.testing.assert_array_equal(small[protocol].per_query["map"], score.per_query["map"])


# --- Google Landmarks v2 --------------------------------------------------------------------------------------------


def test_hand_worked_map_of_each_usage():
    # q0 ranks g0 ... g7 and should find g0, g2, g6, g7: of the first 3 rows 1 and 3 are hits, (1 + 2/3) / min(4, 3)
    # q1 ranks g7 ... g0 and should find g0: no hit in 3 rows, 0, and not skipped
    # q2 ranks as q0 and should find g1: (1/2) / min(1, 3)
    # q3 should find nothing: skipped
    query = embeddings([[1, 0], [-1, 0], [2, 0], [3, 0]], "q")
    relevant = {"q0": ("g7", "g0", "g2", "g6"), "q1": ("g0",), "q2": ("g1", "g1"), "q3": ()}
    usage = {"q0": "private", "q1": "private", "q2": "public", "q3": "public"}
    scores = landmark_scores(query, GALLERY, relevant, usage, k=3)
    assert list(scores) == ["private", "public"]
    np.testing.assert_allclose(scores["private"].per_query["map@3"], [5 / 9, 0])
    np.testing.assert_allclose(scores["public"].per_query["map@3"], [1 / 2, np.nan])
    assert scores["private"].scores == {"map@3": pytest.approx(5 / 18)}
    assert (scores["public"].scores["map@3"], scores["public"].skipped) == (0.5, 1)


@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_agrees_with_the_metric_by_labels(k):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 300).astype(str)
    gallery = embeddings(rng.standard_normal((300, 3)), "g", labels)
    query = embeddings(rng.standard_normal((20, 3)), "q", rng.integers(0, 6, 20).astype(str))
    expected = average_precision_at(positive_ranks(query, gallery), k)
    relevant = {
        f"q{row}": [f"g{at}" for at in np.flatnonzero(labels == label)] for row, label in enumerate(query.labels)
    }
    found = landmark_scores(query, gallery, relevant, dict.fromkeys(relevant, "private"), k=k)["private"]
    np.testing.assert_allclose(found.per_query[f"map@{k}"], expected)
    assert found.skipped == (query.labels == "5").sum() > 0


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "lists", "message"),
    [
        (["q0"], ["g0"], r"^1 queries are not of the benchmark, the first is q1: give its own queries"),
        (["q0", "q1", "q2"], ["g0"], r"^1 of the benchmark's 3 queries are not embedded, the first is q2: embed all"),
        (
            ["q0", "q1"],
            ["g0", "g9", "x"],
            r"^2 images that queries should find are not in the gallery, the first is g9",
        ),
    ],
)
def test_a_benchmark_that_does_not_fit_the_vectors_is_refused(names, lists, message):
    with pytest.raises(DataError, match=message):
        revisited_scores(QUERIES, GALLERY, {name: RevisitedTruth(junk=tuple(lists)) for name in names})
    with pytest.raises(DataError, match=message):
        landmark_scores(QUERIES, GALLERY, dict.fromkeys(names, lists), dict.fromkeys(names, "public"))


def test_other_spaces_cut_offs_and_empty_sides_are_refused():
    relevant, usage = dict.fromkeys(TRUTH, ("g0",)), dict.fromkeys(TRUTH, "public")
    other = embeddings(GALLERY.vectors, "g", fingerprint="b" * 16)
    for score in (
        lambda side: revisited_scores(QUERIES, side, TRUTH),
        lambda side: landmark_scores(QUERIES, side, relevant, usage),
    ):
        with pytest.raises(SpaceError, match="cannot be compared"):
            score(other)
    with pytest.raises(SettingsError, match="found k=0, expected k of at least 1"):
        revisited_scores(QUERIES, GALLERY, TRUTH, ks=(5, 0))
    with pytest.raises(SettingsError, match="k=0"):
        landmark_scores(QUERIES, GALLERY, relevant, usage, k=0)
    nothing = embeddings(np.zeros((0, 2)), "q")
    with pytest.raises(DataError, match="no query to score"):
        revisited_scores(nothing, GALLERY, {})
    with pytest.raises(VectorError, match="the gallery is empty"):
        landmark_scores(QUERIES, nothing, dict.fromkeys(TRUTH, ()), usage)
    with pytest.raises(VectorError, match="the gallery is empty"):
        revisited_scores(QUERIES, nothing, dict.fromkeys(TRUTH, RevisitedTruth()))
