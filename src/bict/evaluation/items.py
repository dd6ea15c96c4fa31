"""The same items embedded twice: rows of two sets of vectors that stand for each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import VectorError


def require_same_items(first: Embeddings, second: Embeddings, what: str) -> None:
    """Refuse two sets of vectors unless row i of both is the same item with the same label.

    Args:
        first: `(rows, dim)`.
        second: `(rows, other dim)`.
        what: the name of both together in the message, such as "old and new queries".

    Raises:
        VectorError: other ids, another order of them, other labels, or labels on one side only.
    """
    if len(first) != len(second):
        raise VectorError(f"{what}: found {len(first)} and {len(second)} rows, expected the same items in both")
    _require_equal(first.ids, second.ids, f"{what}: ids", "give both the same ids in the same order")
    if (first.labels is None) != (second.labels is None):
        raise VectorError(f"{what}: one side has labels and the other has none: give both, or neither, labels")
    if first.labels is not None and second.labels is not None:
        _require_equal(first.labels, second.labels, f"{what}: labels", "an item has one label")


def check_mask(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """One true or false for each row, `(rows,)`.

    Raises:
        VectorError: another shape or type.
    """
    mask = np.asarray(mask)
    if mask.shape != (rows,) or mask.dtype != np.bool_:
        found = f"a mask of shape {mask.shape} and type {mask.dtype}"
        raise VectorError(f"found {found}, expected one true or false for each of {rows} rows")
    return mask


def _require_equal(first: NDArray[Any], second: NDArray[Any], what: str, cure: str) -> None:
    differing = np.flatnonzero(first != second)
    if len(differing):
        row = differing[0]
        found = f"{len(differing)} of {len(first)} differ, the first is row {row}: {first[row]} and {second[row]}"
        raise VectorError(f"{what}: {found}: {cure}")
