from __future__ import annotations

import numpy as np
import pytest

from bict.errors import TransformError
from bict.transforms import Identity, Pairs


def test_gives_a_copy(rotated):
    pairs = rotated()
    mapped = Identity().fit(pairs).transform(pairs.old[0])
    np.testing.assert_array_equal(mapped, pairs.old[0])
    assert not np.shares_memory(mapped, pairs.old)


def test_refuses_a_change_of_dimension():
    pairs = Pairs(np.ones((1, 2, 3)), np.ones((1, 2, 4)))
    with pytest.raises(TransformError, match="found 3 old and 4 new: take procrustes or ridge"):
        Identity().fit(pairs)
