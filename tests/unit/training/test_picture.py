"""One picture at the size and in the channels of each model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bict.models import default_preprocessing
from bict.training.picture import shown_to


def needs(size: int, channels: int):
    return default_preprocessing("conv-small", channels, size)


def draw(channels: int, side: int = 16) -> torch.Tensor:
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_that_fits_is_shown_as_it_is(channels):
    assert torch.equal(shown_to(needs(16, channels), draw(channels)), draw(channels))


@pytest.mark.parametrize("size", [8, 24])
@pytest.mark.parametrize(("had", "needed"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_size_and_channels_become_what_the_model_needs(size, had, needed):
    shown = shown_to(needs(size, needed), draw(had))
    assert shown.shape == (2, needed, size, size)
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_grey_is_repeated_and_comes_back():
    grey = draw(1)
    colour = shown_to(needs(16, 3), grey)
    assert all(torch.equal(colour[:, [channel]], grey) for channel in range(3))
    torch.testing.assert_close(shown_to(needs(16, 1), colour), grey)


def test_colour_becomes_the_grey_that_pillow_reads():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    grey = shown_to(needs(16, 1), torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_allclose(grey[0, 0] * 255, expected, atol=1)


def test_a_smaller_picture_is_averaged_and_not_thinned_out():
    stripes = torch.zeros(1, 1, 16, 16)
    stripes[..., ::2] = 1
    shown = shown_to(needs(8, 1), stripes)
    assert (shown[..., 1:-1] - 0.5).abs().max() < 0.13
