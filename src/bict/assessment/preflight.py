"""Before anything is fitted: how far two models agree about which items are alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bict.errors import DataError
from bict.reports.assessment import Preflight

LEAST_ROWS = 4
FLAT = 1e-10
"""Similarities that vary by less than this share of the mean squared length are rounding error: all vectors are one."""


def gram_agreement(old: NDArray[np.float32], new: NDArray[np.float32], *, rows: int = 2000, seed: int = 0) -> Preflight:
    """Linear CKA of two models on the same items: 1 where one is the other turned and scaled, 0 where unrelated.

    `<K, L> / sqrt(<K, K> <L, L>)` with `K = X X'` and `L = Y Y'` (Kornblith et al., "Similarity of Neural Network
    Representations Revisited", ICML 2019), where `<., .>` is the unbiased HSIC_1 of Song et al. ("Feature Selection via
    Dependence Maximization", JMLR 2012), as in Nguyen et al. ("Do Wide and Deep Networks Learn the Same Things?", ICLR
    2021). The plain form calls two unrelated models alike where there are fewer items than dimensions: it gives .72 for
    300 items of 768 random numbers each. What the unbiased one gives below 0 counts as 0.

    Args:
        old: `(items, old_dim)`.
        new: `(items, new_dim)` of the same items in the same order.
        rows: most items to measure on, drawn at random.
        seed: of the draw.

    Raises:
        DataError: fewer than four items.
    """
    if len(old) < LEAST_ROWS:
        raise DataError(
            f"found {len(old)} pairs, expected at least {LEAST_ROWS} to compare two models: pass more pairs"
        )
    if len(old) > rows:
        drawn = np.sort(np.random.default_rng(seed).choice(len(old), rows, replace=False))
        old, new = old[drawn], new[drawn]
    first, second = _centred_similarities(old), _centred_similarities(new)
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    agreement = float(np.vdot(first, second)) / norms if norms > 0 else 0.0
    return Preflight(agreement=min(max(agreement, 0.0), 1.0), pairs=len(old))


def _centred_similarities(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """`(items, items)` dot products without the diagonal, in multiples of the squared length, centred to be unbiased.

    The sum of the products of two such tables, over `n (n - 3)`, is HSIC_1: each row and column sums to 0 (the
    U-centring of Szekely and Rizzo, "Partial distance correlation with methods for dissimilarities", 2014).
    """
    exact = vectors.astype(np.float64)
    exact /= np.sqrt(np.square(exact).sum(axis=1).mean())
    exact -= exact.mean(axis=0)
    items = len(exact)
    table = exact @ exact.T
    np.fill_diagonal(table, 0)
    sums = table.sum(axis=1)
    table -= (sums[:, None] + sums) / (items - 2)
    table += sums.sum() / ((items - 1) * (items - 2))
    np.fill_diagonal(table, 0)
    return table if np.abs(table).max() > FLAT else np.zeros_like(table)
