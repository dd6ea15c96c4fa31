"""What every source of pixels promises, wherever the pixels come from."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bict.data.images import ArrayPixels, FilePixels, PixelSource
from bict.data.kept_pixels import KeptPixels

ROWS, SIDE = 6, 24


def make_array(rows: int = ROWS) -> np.ndarray:
    """Smooth grey images, each of its own brightness."""
    slope = np.linspace(0, 40, SIDE)
    images = 30 * np.arange(rows)[:, None, None] + slope[:, None] + slope[None, :]
    return images.astype(np.uint8)


@pytest.fixture(params=["array", "files", "kept"])
def source(request, tmp_path) -> PixelSource:
    if request.param == "array":
        return ArrayPixels(make_array())
    paths = [tmp_path / f"{row}.png" for row in range(ROWS)]
    for path, image in zip(paths, make_array(), strict=True):
        Image.fromarray(image).save(path)
    return FilePixels(paths) if request.param == "files" else KeptPixels(FilePixels(paths), (SIDE, 1), 4 * SIDE**2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, SIDE, 40])
def test_pixels_have_the_size_and_channels_asked_for(source, size, channels):
    pixels = source.read(np.array([1, 4]), size, channels)
    assert pixels.shape == (2, size, size, channels)
    assert pixels.dtype == np.uint8


def test_stored_size_gives_the_stored_pixels(source):
    np.testing.assert_array_equal(source.read(np.arange(ROWS), SIDE, 1)[..., 0], make_array())


def test_grey_images_as_rgb_have_three_equal_channels(source):
    grey, rgb = source.read(np.arange(ROWS), SIDE, 1), source.read(np.arange(ROWS), SIDE, 3)
    np.testing.assert_array_equal(rgb, np.repeat(grey, 3, axis=3))


def test_rows_come_in_the_order_asked_for_also_twice(source):
    rows = np.array([3, 0, 3, 5])
    together = source.read(rows, 16, 3)
    alone = [source.read(np.array([row]), 16, 3)[0] for row in rows]
    np.testing.assert_array_equal(together, np.stack(alone))
    np.testing.assert_array_equal(together[0], together[2])
    assert together[0].mean() > together[1].mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_no_rows_give_no_pixels(source, channels):
    pixels = source.read(np.array([], dtype=np.int64), 16, channels)
    assert pixels.shape == (0, 16, 16, channels)
    assert pixels.dtype == np.uint8


def test_another_size_keeps_the_picture(source):
    own, small = source.read(np.arange(ROWS), SIDE, 1), source.read(np.arange(ROWS), 12, 1)
    np.testing.assert_allclose(small.mean((1, 2, 3)), own.mean((1, 2, 3)), atol=1.5)


def test_reading_again_gives_the_same(source):
    first = source.read(np.arange(ROWS), 10, 3)
    first_copy = first.copy()
    np.testing.assert_array_equal(source.read(np.arange(ROWS), 10, 3), first_copy)


def test_a_source_names_its_channels_and_size(source):
    assert source.channels in (1, 3)
    assert source.own_size >= 8
    assert isinstance(source.own_size, int)


def test_a_row_that_is_not_there_is_refused(source):
    with pytest.raises(IndexError):
        source.read(np.array([ROWS]), 8, 1)
