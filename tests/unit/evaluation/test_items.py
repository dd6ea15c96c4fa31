from __future__ import annotations

import numpy as np
import pytest

from bict.embeddings import Embeddings
from bict.errors import VectorError
from bict.evaluation.items import check_mask, require_same_items
from bict.spaces import Space


def embeddings(ids, labels=None, dim=2):
    space = Space(name="test", fingerprint="a" * 16, dim=dim)
    vectors = np.tile(np.eye(1, dim), (len(ids), 1))
    return Embeddings(np.array(ids), vectors, space, None if labels is None else np.array(labels))


def test_the_same_items_pass_whatever_their_vectors():
    require_same_items(embeddings([3, 1], ["a", "b"]), embeddings([3, 1], ["a", "b"], dim=5), "both")
    require_same_items(embeddings(["x"]), embeddings(["x"]), "both")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (([1, 2],), ([1, 2, 3],), r"^both: found 2 and 3 rows, expected the same items in both$"),
        (([1, 2, 3],), ([1, 3, 2],), r"^both: ids: 2 of 3 differ, the first is row 1: 2 and 3: give both the same ids"),
        ((["1"],), ([1],), r"^both: ids: 1 of 1 differ"),
        (([1, 2], ["a", "b"]), ([1, 2], ["a", "c"]), r"^both: labels: 1 of 2 differ, the first is row 1: b and c"),
        (([1], ["a"]), ([1],), r"^both: one side has labels and the other has none"),
        (([1],), ([1], ["a"]), r"^both: one side has labels and the other has none"),
    ],
)
def test_other_items_are_refused(first, second, message):
    with pytest.raises(VectorError, match=message):
        require_same_items(embeddings(*first), embeddings(*second), "both")


@pytest.mark.parametrize("mask", [[True], [1, 0], [[True, False]]])
def test_a_mask_says_true_or_false_for_each_row(mask):
    assert check_mask(np.array([True, False]), 2).tolist() == [True, False]
    with pytest.raises(VectorError, match=r"^found a mask of shape .*, expected one true or false for each of 2 rows$"):
        check_mask(np.array(mask), 2)
