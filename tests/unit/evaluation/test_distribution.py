from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError, SpaceError, VectorError
from bict.evaluation import distribution
from bict.evaluation.compatibility import Score
from bict.evaluation.distribution import score_gap
from bict.spaces import Space

SPACE = Space(name="test", fingerprint="a" * 16, dim=2)
LINE = Space(name="line", fingerprint="b" * 16, dim=1, metric="dot", normalised=False)


def side(vectors, labels, ids=None, space=LINE):
    vectors = np.asarray(vectors, np.float32)
    vectors = vectors[:, None] if vectors.ndim == 1 else vectors
    return Embeddings(np.arange(len(vectors)) if ids is None else np.asarray(ids), vectors, space, np.asarray(labels))


def system(query, gallery, query_labels, gallery_labels, first_id=100):
    ids = np.arange(first_id, first_id + len(query))
    return side(query, query_labels, ids), side(gallery, gallery_labels)


def slow_gap(first, second, same):
    """The largest difference of two step functions, at each of their steps."""
    scores = []
    for query, gallery in (first, second):
        scores.append(
            [
                float(q @ g)
                for q, q_label, q_id in zip(query.vectors, query.labels, query.ids, strict=True)
                for g, g_label, g_id in zip(gallery.vectors, gallery.labels, gallery.ids, strict=True)
                if q_id != g_id and (q_label == g_label) == same
            ]
        )
    if not scores[0]:
        return math.nan
    below = [[sum(s <= step for s in side) / len(side) for step in scores[0] + scores[1]] for side in scores]
    return max(abs(one - other) for one, other in zip(*below, strict=True))


def test_by_hand():
    # query 1 of class a; gallery a, a, b. Same class: first system scores 1, 2, second 2, 3: the distributions differ
    # by 1/2 between 1 and 2, and by 1/2 between 2 and 3. Different class: 5 against -5: no overlap
    first = system([1], [1, 2, 5], ["a"], ["a", "a", "b"])
    second = system([1], [2, 3, -5], ["a"], ["a", "a", "b"])
    gap = score_gap(first, second)
    assert gap.same_class == Score(0.5)
    assert gap.different_class == Score(1.0)


def test_a_system_does_not_differ_from_itself():
    vectors = normalise(np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32))
    both = side(vectors, np.arange(30) % 4, space=SPACE)
    gap = score_gap((both, both), (both, both), pairs=50)
    assert gap.same_class == gap.different_class == Score(0.0)


numbers = st.sampled_from([-3, -2, -1, 1, 2, 3])


@settings(deadline=None)
@given(
    query=st.lists(st.tuples(numbers, numbers, st.sampled_from("abx")), min_size=1, max_size=5),
    gallery=st.lists(st.tuples(numbers, numbers, st.sampled_from("abc")), min_size=1, max_size=8),
    shared=st.integers(0, 3),
)
def test_all_pairs_equal_slow_reference(query, gallery, shared):
    # the first `shared` queries have the ids of gallery rows: a pair of an item with itself does not count
    systems = [
        system(
            [row[place] for row in query],
            [row[place] for row in gallery],
            [row[2] for row in query],
            [row[2] for row in gallery],
            first_id=len(gallery) - min(shared, len(gallery)),
        )
        for place in (0, 1)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "BLOCK", 3)
        gap = score_gap(*systems)
    for found, same in ((gap.same_class, True), (gap.different_class, False)):
        assert found.value == pytest.approx(slow_gap(*systems, same), nan_ok=True)
        assert bool(found.reason) == math.isnan(found.value)


@pytest.mark.parametrize("mean", [0, 0.3, 3])
def test_equal_to_scipy(mean):
    # one query (1), so that the scores of the two systems are the gallery's numbers
    numbers = np.random.default_rng(3).normal([[0], [mean]], 1, (2, 300))
    gap = score_gap(*(system([1], row, ["a"], ["a"] * 300, 999) for row in numbers.round(1) + 20))
    assert gap.same_class.value == pytest.approx(ks_2samp(*numbers.round(1)).statistic)


def test_a_sample_estimates_the_gap_of_all_pairs():
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 5
    systems = [system(rng.normal(1, 0.3, 200), rng.normal(mean, 0.3, 200), labels, labels, 999) for mean in (1, 1.5)]
    whole, sample = score_gap(*systems), score_gap(*systems, pairs=2000, seed=1)
    assert sample.same_class.value == pytest.approx(whole.same_class.value, abs=0.04)
    assert sample.different_class.value == pytest.approx(whole.different_class.value, abs=0.04)
    assert sample == score_gap(*systems, pairs=2000, seed=1) != score_gap(*systems, pairs=2000, seed=2)


def test_memory_does_not_grow_with_the_number_of_pairs():
    rows = 20_000  # 400 million pairs
    both = side(np.random.default_rng(2).uniform(1, 2, rows), np.arange(rows) % 10)
    tracemalloc.start()
    score_gap((both, both), (both, both), pairs=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_no_pair_of_a_kind_has_a_reason():
    one_class = system([1], [1, 2], ["a"], ["a", "a"])
    gap = score_gap(one_class, one_class)
    assert gap.same_class == Score(0.0)
    assert math.isnan(gap.different_class.value)
    assert gap.different_class.reason == "there is no such pair"


def test_systems_must_be_of_the_same_pairs_and_units():
    first = system([1], [1, 2], ["a"], ["a", "b"])
    with pytest.raises(VectorError, match=r"^first and second queries: ids: 1 of 1 differ"):
        score_gap(first, system([1], [1, 2], ["a"], ["a", "b"], first_id=7))
    with pytest.raises(VectorError, match=r"^first and second gallery: labels: 1 of 2 differ"):
        score_gap(first, system([1], [1, 2], ["a"], ["a", "c"]))
    with pytest.raises(SettingsError, match=r"^found pairs=0"):
        score_gap(first, first, pairs=0)
    for other in ({"metric": "cosine"}, {"metric": "l2"}):
        space = LINE.model_copy(update=other)
        with pytest.raises(SpaceError, match=r"^found dot of other vectors and (cosine|l2) of other vectors"):
            score_gap(first, tuple(Embeddings(s.ids, s.vectors, space, s.labels) for s in first))


def test_squared_distances_are_not_set_against_dot_products():
    loose = Space(name="loose", fingerprint="c" * 16, dim=1, metric="l2", normalised=False)
    unit = Space(name="unit", fingerprint="d" * 16, dim=1, metric="l2", normalised=True)
    systems = [tuple(side([1], ["a"], ids, space) for ids in ([0], [1])) for space in (loose, unit)]
    with pytest.raises(SpaceError, match=r"^found l2 of other vectors and l2 of unit vectors"):
        score_gap(*systems)
