"""Ranks of a few rows among many, by counting in the place of sorting.

The rows are counted in bins of equal width over the range of the few; only the rows of a bin that holds one of the few
are sorted, and of every other bin the count is enough. Bins follow the similarity without ever falling, whatever is
rounded, so the ranks are exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float32]

TILE = 2**16
"""Rows counted at a time, so that temporaries stay small."""
MOST_BINS = 2**14
"""Enough for a million rows; fewer than 2**16, for a bin is kept in 16 bits."""
ROW_BYTES = 4
"""Bytes of working memory for each row, besides a tile."""


def ranks_among(similarity: Float, few: Int) -> Int:
    """The 1-based ranks `(few,)`, ascending, that some rows have among all, most similar first.

    Ties: the lower row ranks first.

    Args:
        similarity: `(rows,)`, none of them NaN.
        few: `(few,)` rows, ascending, none twice.
    """
    if not len(few):
        return few
    bins, counts = _bins(similarity, similarity[few])
    taken = np.sort(bins[few])
    sorted_bins = np.zeros(len(counts), np.bool_)
    sorted_bins[taken] = True
    near = np.flatnonzero(sorted_bins[bins])
    keys = sort_keys(similarity[near], near)
    keys[np.searchsorted(near, few)] |= 1
    keys.sort()
    counted = np.cumsum(np.where(sorted_bins, 0, counts))
    return np.asarray(np.flatnonzero(keys & 1) + counted[taken] + 1)


def sort_keys(similarity: Float, rows: Int) -> Int:
    """Integers that sort as the rows rank: similarity, falling, in the upper 32 bits, then the row; the last bit is 0.

    Args:
        similarity: `(..., rows)`.
        rows: `(rows,)` below 2**31.
    """
    bits = (similarity + np.float32(0)).view(np.int32)  # + 0 makes -0 equal to 0
    keys = np.where(bits >= 0, ~bits, bits & 0x7FFFFFFF).astype(np.int64) << 32
    keys |= rows << 1
    return keys


def from_keys(keys: Int) -> tuple[Int, Float]:
    """Rows and similarities of sort keys."""
    order = (keys >> 32).astype(np.int32)
    bits = np.where(order < 0, ~order, order | np.int32(-(2**31)))
    return (keys & 0xFFFFFFFF) >> 1, bits.view(np.float32)


def _bins(similarity: Float, few: Float) -> tuple[NDArray[np.uint16], Int]:
    """The bin of each row `(rows,)`, and the rows in each bin `(bins,)`; the more similar, the lower the bin.

    The first bin is for what is more similar than the few, the last for what is less.
    """
    size = min(max(len(similarity) // 4, 16), MOST_BINS)
    finite = np.finfo(np.float32)
    best, worst = (min(max(float(end), float(finite.min)), float(finite.max)) for end in (few.max(), few.min()))
    scale = np.float32(min((size - 3) / max(best - worst, float(finite.tiny)), float(finite.max)))
    bins, counts = np.empty(len(similarity), np.uint16), np.zeros(size, np.int64)
    for start in range(0, len(similarity), TILE):
        with np.errstate(over="ignore"):
            place = np.float32(best) - similarity[start : start + TILE]
            place *= scale
        place += 1
        bins[start : start + TILE] = np.clip(place, 0, size - 1, out=place)
        counts += np.bincount(bins[start : start + TILE], minlength=size)
    return bins, counts
