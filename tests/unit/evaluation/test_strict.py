from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.embeddings import Embeddings, normalise
from bict.errors import DataError, SpaceError, VectorError
from bict.evaluation import strict
from bict.evaluation.strict import strict_criterion
from bict.spaces import Space

OLD = {"name": "old", "fingerprint": "a" * 16}
NEW = {"name": "new", "fingerprint": "b" * 16, "backward_compatible_with": ("a" * 16,)}


def embeddings(vectors, labels, card, **space):
    vectors = np.asarray(vectors, np.float32)
    space = Space(dim=vectors.shape[1], **({"metric": "l2", "normalised": False} | card | space))
    return Embeddings(np.arange(len(vectors)), vectors, space, None if labels is None else np.asarray(labels))


def slow_counts(old, new):
    """For either kind, pairs and satisfied pairs: one pair after the other, in exact whole numbers."""
    counts = {True: [0, 0], False: [0, 0]}
    olds, news = old.vectors.astype(int).tolist(), new.vectors.astype(int).tolist()
    for i in range(len(olds)):
        for j in range(len(olds)):
            if i == j:
                continue
            same = bool(old.labels[i] == old.labels[j])
            cross, own = (sum((x - y) ** 2 for x, y in zip(v, olds[j], strict=True)) for v in (news[i], olds[i]))
            counts[same][0] += 1
            counts[same][1] += cross <= own if same else cross >= own
    return counts


def test_by_hand():
    # on a line: old a = 1, a = 4, b = 8; new a = 2, a = 3, b = 5
    # same class: |2 - 4| <= |1 - 4| and |3 - 1| <= |4 - 1|: 2 of 2
    # a, b: |2 - 8| >= |1 - 8| no, |3 - 8| >= |4 - 8| yes; b, a: |5 - 1| >= |8 - 1| no, |5 - 4| >= |8 - 4| no: 1 of 4
    old = embeddings([[1], [4], [8]], ["a", "a", "b"], OLD)
    new = embeddings([[2], [3], [5]], ["a", "a", "b"], NEW)
    shares = strict_criterion(old, new)
    assert (shares.same_class, shares.different_class, shares.overall) == (1, 1 / 4, 3 / 6)
    assert (shares.same_class_pairs, shares.different_class_pairs) == (2, 4)


@given(seed=st.integers(0, 10**6), rows=st.integers(2, 14), tile=st.integers(1, 6))
def test_equal_to_slow_reference(seed, rows, tile):
    # on a coarse grid many distances are equal: they satisfy both halves of the criterion
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    old = embeddings(rng.integers(1, 4, (rows, 2)), labels, OLD)
    new = embeddings(rng.integers(1, 4, (rows, 2)), labels, NEW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict, "TILE", tile)
        shares = strict_criterion(old, new)
    counts = slow_counts(old, new)
    assert (shares.same_class_pairs, shares.different_class_pairs) == (counts[True][0], counts[False][0])
    for share, (pairs, kept) in ((shares.same_class, counts[True]), (shares.different_class, counts[False])):
        assert share == pytest.approx(kept / pairs) if pairs else math.isnan(share)
    assert shares.overall == pytest.approx((counts[True][1] + counts[False][1]) / (rows * (rows - 1)))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("normalised", [True, False])
def test_old_vectors_satisfy_the_criterion_with_themselves(metric, normalised):
    vectors = np.random.default_rng(0).standard_normal((700, 24)).astype(np.float32)
    vectors = normalise(vectors) if normalised else vectors
    both = embeddings(vectors, np.arange(700) % 50, OLD, metric=metric, normalised=normalised)
    shares = strict_criterion(both, both)
    assert (shares.same_class, shares.different_class, shares.overall) == (1, 1, 1)


def test_independent_vectors_satisfy_it_by_chance():
    # each pair compares two draws of one distribution: half of the pairs, whatever their labels
    old, new = normalise(np.random.default_rng(1).standard_normal((2 * 600, 16)).astype(np.float32)).reshape(2, 600, 16)
    labels = np.arange(600) % 20
    spaces = {"metric": "cosine", "normalised": True}
    shares = strict_criterion(embeddings(old, labels, OLD, **spaces), embeddings(new, labels, NEW, **spaces))
    assert shares.same_class == pytest.approx(0.5, abs=0.05)
    assert shares.different_class == pytest.approx(0.5, abs=0.05)


def test_new_vectors_of_other_length_are_compared_in_one_unit():
    # cosine: new vectors are the old ones, four times as long: every distance is unchanged
    vectors = normalise(np.random.default_rng(2).standard_normal((40, 8)).astype(np.float32))
    labels = np.arange(40) % 4
    old = embeddings(vectors, labels, OLD, metric="cosine", normalised=True)
    new = embeddings(vectors * 4, labels, NEW, metric="cosine", normalised=False)
    assert strict_criterion(old, new).overall == 1


@pytest.mark.parametrize(
    ("labels", "same", "different"), [(["a", "b", "c"], None, 1), (["a", "a", "a"], 1, None)], ids=["all", "one"]
)
def test_a_kind_of_pair_that_is_not_there_has_no_share(labels, same, different):
    both = embeddings([[1], [2], [3]], labels, OLD)
    shares = strict_criterion(both, both)
    assert math.isnan(shares.same_class) if same is None else shares.same_class == same
    assert math.isnan(shares.different_class) if different is None else shares.different_class == different
    assert shares.overall == 1


def test_memory_stays_bounded():
    vectors = normalise(np.random.default_rng(3).standard_normal((3000, 8)).astype(np.float32))
    both = embeddings(vectors, np.arange(3000) % 100, OLD, metric="cosine", normalised=True)
    tracemalloc.start()
    strict_criterion(both, both)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 15e6  # one table of all pairs in float64 alone is 72 MB


def test_refusals():
    old = embeddings([[1], [2]], ["a", "b"], OLD)
    with pytest.raises(SpaceError, match="cannot be compared"):
        strict_criterion(old, embeddings([[1], [2]], ["a", "b"], {"name": "free", "fingerprint": "c" * 16}))
    with pytest.raises(VectorError, match=r"^old and new vectors: labels: 2 of 2 differ"):
        strict_criterion(old, embeddings([[1], [2]], ["b", "a"], NEW))
    with pytest.raises(VectorError, match=r"has no labels"):
        strict_criterion(embeddings([[1], [2]], None, OLD), embeddings([[1], [2]], None, NEW))
    with pytest.raises(DataError, match=r"^found 1 items, expected at least 2"):
        strict_criterion(old.take(np.array([0])), embeddings([[1]], ["a"], NEW))
