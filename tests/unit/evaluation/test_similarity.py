from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.errors import SpaceError
from bict.evaluation.similarity import Similarity
from bict.spaces import Space


def space(metric="cosine", normalised=True, **card):
    card = {"name": "test", "fingerprint": "a" * 16, "dim": 3} | card
    return Space(metric=metric, normalised=normalised, **card)


def of_pair(first, second, metric):
    first, second = [float(x) for x in first], [float(x) for x in second]
    product = sum(x * y for x, y in zip(first, second, strict=True))
    if metric == "dot":
        return product
    if metric == "cosine":
        return product / (sum(x * x for x in first) * sum(y * y for y in second)) ** 0.5
    return -sum((x - y) ** 2 for x, y in zip(first, second, strict=True))


@given(seed=st.integers(0, 10**6), metric=st.sampled_from(["cosine", "dot", "l2"]))
def test_table_and_pairs_equal_slow_reference(seed, metric):
    query, gallery = np.random.default_rng(seed).standard_normal((2, 4, 3)).astype(np.float32)
    similarity = Similarity.between(space(metric, False), space(metric, False))
    sides = similarity.coordinates(query), similarity.coordinates(gallery)
    expected = [[of_pair(q, g, metric) for g in gallery] for q in query]
    table, pairs = similarity.table(*sides), similarity.pairs(*sides)
    assert table.dtype == pairs.dtype == np.float32
    np.testing.assert_allclose(table, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(pairs, np.diag(expected), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_unit_vectors_are_scored_by_the_dot_product(metric):
    similarity = Similarity.between(space(metric), space(metric))
    query, gallery = np.float32([[0.6, 0.8, 0]]), np.float32([[1, 0, 0]])
    assert similarity.table(query, gallery) == similarity.pairs(query, gallery) == np.float32(0.6)


def test_one_side_of_other_length_is_measured_by_the_metric_of_the_gallery():
    # (3, 4, 0) to (1, 0, 0): cosine 3/5, squared distance 4 + 16
    query, gallery = np.float32([[3, 4, 0]]), np.float32([[1, 0, 0]])
    for metric, expected in (("cosine", 0.6), ("dot", 3), ("l2", -20)):
        new = space(metric, False, fingerprint="b" * 16, backward_compatible_with=("a" * 16,))
        similarity = Similarity.between(new, space(metric))
        sides = similarity.coordinates(query), similarity.coordinates(gallery)
        assert similarity.table(*sides) == similarity.pairs(*sides) == np.float32(expected)


def test_incomparable_spaces_have_no_similarity():
    with pytest.raises(SpaceError, match="cannot be compared"):
        Similarity.between(space(fingerprint="b" * 16), space())
