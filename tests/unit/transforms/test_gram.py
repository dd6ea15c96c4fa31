from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.transforms.gram import gram


def rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(2, 1, (count, 3)).astype(np.float32), rng.normal(-1, 1, (count, 2)).astype(np.float32)


def test_sums_by_hand():
    sums = gram(np.array([[1, 2], [3, 4]], np.float32), np.array([[5], [6]], np.float32))
    assert (sums.count, sums.old.tolist(), sums.new.tolist()) == (2, [4, 6], [11])
    assert sums.old_old.tolist() == [[10, 14], [14, 20]]
    assert sums.old_new.tolist() == [[23], [34]]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), cut=st.integers(0, 40), chunk=st.integers(1, 50), seed=st.integers(0, 9))
def test_sums_do_not_depend_on_how_the_rows_arrive(count, cut, chunk, seed):
    old, new = rows(count, seed)
    whole = gram(old, new)
    parts = gram(old[:cut], new[:cut], chunk=chunk) + gram(old[cut:], new[cut:], chunk=chunk)
    assert parts.count == whole.count
    for name in ("old", "new", "old_old", "old_new"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)


def test_centred_equals_the_sums_over_centred_rows():
    old, new = rows(50, 1)
    x, y = old - old.mean(0, dtype=float), new - new.mean(0, dtype=float)
    old_old, old_new = gram(old, new).centred()
    np.testing.assert_allclose(old_old, x.T @ x, rtol=1e-10)
    np.testing.assert_allclose(old_new, x.T @ y, rtol=1e-10)
