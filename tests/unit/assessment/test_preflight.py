from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.assessment.preflight import gram_agreement
from bict.errors import DataError


def song(first, second):
    """HSIC_1 as Song et al. write it: sums over quadruples of different items, one by one."""
    items = len(first)
    old, new = ((side.astype(float) @ side.T.astype(float)) for side in (first, second))
    pairs = triples = quadruples = 0.0
    for i in range(items):
        for j in set(range(items)) - {i}:
            pairs += old[i, j] * new[i, j]
            for q in set(range(items)) - {i, j}:
                triples += old[i, j] * new[i, q]
                quadruples += sum(old[i, j] * new[q, r] for r in set(range(items)) - {i, j, q})
    return (
        pairs / (items * (items - 1))
        - 2 * triples / (items * (items - 1) * (items - 2))
        + quadruples / (items * (items - 1) * (items - 2) * (items - 3))
    )


def orthogonal(dim, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def normal(rows, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(items=st.integers(5, 9), shared=st.sampled_from([0.0, 0.5, 3.0]), seed=st.integers(0, 99))
def test_equal_to_the_estimator_as_it_is_published(items, shared, seed):
    common = normal(items, 3, seed)
    first, second = (shared * common + normal(items, 3, seed + number) + 2 for number in (100, 200))
    expected = song(first, second) / np.sqrt(song(first, first) * song(second, second))
    found = gram_agreement(first, second)
    assert found.agreement == pytest.approx(max(expected, 0), abs=1e-6)
    assert found.pairs == items


@pytest.mark.parametrize(("rows", "dim"), [(300, 20), (60, 200)])
def test_a_rotation_a_scale_and_a_shift_agree_wholly(rows, dim):
    old = normal(rows, dim)
    new = (3 * old @ orthogonal(dim) + 5).astype(np.float32)
    assert gram_agreement(old, new).agreement == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("rows", "dim"), [(300, 768), (40, 768), (800, 10)])
def test_unrelated_vectors_do_not_agree_however_few_there_are(rows, dim):
    found = [gram_agreement(normal(rows, dim, seed), normal(rows, dim, seed + 50)).agreement for seed in range(5)]
    assert max(found) < (0.05 if rows == 40 else 0.02)


def test_noise_lowers_it_by_the_share_it_has_however_few_there_are():
    # covariances old I, new 2 I, old with new I: |I|^2 / (|I| |2 I|) = 1 / 2
    found = [
        gram_agreement(normal(200, 300, seed), normal(200, 300, seed) + normal(200, 300, 90 + seed)).agreement
        for seed in range(10)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_many_items_are_sampled():
    old = normal(500, 5)
    new = old + normal(500, 5, 1)
    found = gram_agreement(old, new, rows=200, seed=3)
    assert found.pairs == 200
    assert found == gram_agreement(old, new, rows=200, seed=3) != gram_agreement(old, new, rows=200, seed=4)
    assert found.agreement == pytest.approx(gram_agreement(old, new).agreement, abs=0.1)


@pytest.mark.parametrize("flat", [np.float32(0.3), np.float32(1 / 3)])
def test_a_model_that_gives_one_vector_agrees_with_nothing(flat):
    assert gram_agreement(np.full((30, 7), flat), normal(30, 7)).agreement == 0
    assert gram_agreement(np.full((30, 7), flat), np.full((30, 7), flat)).agreement == 0


def test_three_pairs_are_too_few():
    with pytest.raises(DataError, match=r"^found 3 pairs, expected at least 4"):
        gram_agreement(normal(3, 2), normal(3, 2))
    assert 0 <= gram_agreement(normal(4, 2), normal(4, 2)).agreement <= 1
