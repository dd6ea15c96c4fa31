"""Pixels that are kept: the same as those of the source, read once, and never more than was allowed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.data.images import FilePixels, ImageSet
from bict.data.kept_pixels import KeptPixels, keep_pixels

SIZE = 4
EACH = SIZE * SIZE * 3


@dataclass
class Counted:
    """Every row has pixels of its own; tells which rows were read."""

    channels: int = 3
    own_size: int = 7
    seen: list[int] = field(default_factory=list)

    def read(self, rows: np.ndarray, size: int, channels: int) -> np.ndarray:
        self.seen += rows.tolist()
        shape = (len(rows), size, size, channels)
        return np.broadcast_to(np.asarray(rows, np.uint8)[:, None, None, None], shape).copy()


READS = st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=12), st.sampled_from([(SIZE, 3), (SIZE, 1), (2, 3)])))


@given(READS, st.integers(0, 12 * EACH))
def test_gives_what_the_source_gives_and_keeps_no_more_than_allowed(reads, limit):
    plain, source = Counted(), Counted()
    kept = KeptPixels(source, (SIZE, 3), limit)
    for rows, shape in reads:
        given_rows = np.array(rows, np.int64)
        np.testing.assert_array_equal(kept.read(given_rows, *shape), plain.read(given_rows, *shape))
        assert sum(pixels.nbytes for pixels in kept._kept.values()) <= limit
        assert all(pixels.base is None for pixels in kept._kept.values())  # a view would hold on to a whole batch


def test_the_second_epoch_reads_only_what_had_no_room():
    source = Counted()
    kept = KeptPixels(source, (SIZE, 3), 6 * EACH + EACH - 1)
    rng = np.random.default_rng(0)
    for _ in range(3):
        for rows in rng.permutation(10).reshape(5, 2):
            kept.read(rows, SIZE, 3)
    counts = np.bincount(source.seen, minlength=10)
    assert sorted(counts.tolist()) == [1] * 6 + [3] * 4


def test_what_is_handed_out_may_be_changed(tmp_path):
    kept = KeptPixels(Counted(), (SIZE, 3), 100 * EACH)
    for _ in range(2):
        pixels = kept.read(np.array([3, 5]), SIZE, 3)
        assert pixels[:, 0, 0, 0].tolist() == [3, 5]
        pixels[:] = 0


def test_photos_are_the_same_with_and_without(tmp_path, photo):
    paths = [photo(tmp_path / f"{row}.jpg", (20 * row, 90, 255 - 20 * row), (30, 20 + row)) for row in range(6)]
    names = np.array([path.name for path in paths])
    plain = ImageSet("photos", "photos", names, names, names, FilePixels(paths)).take(np.array([4, 1, 5, 0]))
    kept = keep_pixels(plain, 16, 3, 2**20)
    assert (kept.ids.tolist(), kept.source.channels, kept.source.own_size) == (plain.ids.tolist(), 3, 128)
    expected = plain.pixels(np.array([2, 0, 2]), 16, 3)
    for _ in range(2):
        np.testing.assert_array_equal(kept.pixels(np.array([2, 0, 2]), 16, 3), expected)
    for path in paths:
        path.unlink()
    np.testing.assert_array_equal(kept.pixels(np.array([0, 2]), 16, 3), expected[1:])


@pytest.mark.parametrize(("limit", "wrapped"), [(0, False), (EACH - 1, False), (EACH, True)])
def test_without_room_for_one_image_nothing_changes(limit, wrapped):
    names = np.array(["a"])
    images = ImageSet("made", "photos", names, names, names, Counted())
    assert isinstance(keep_pixels(images, SIZE, 3, limit).source, KeptPixels) == wrapped


def test_what_lies_in_memory_is_not_kept_twice(image_set):
    images = image_set("aabb")
    assert keep_pixels(images, SIZE, 3, 2**30) is images
