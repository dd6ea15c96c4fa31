"""Augmentation: what it may change, and what it must not."""

from __future__ import annotations

import pytest
import torch

from bict.training.augment import AUGMENTATIONS, Augmentation, augment

NOTHING = Augmentation(degrees=0, shear=0, zoom=0, shift=0)


def draw(images: int = 5, channels: int = 3, side: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.rand(images, channels, side, side, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
def test_no_change_gives_the_same_picture_back(channels):
    pictures = draw(channels=channels)
    torch.testing.assert_close(augment(pictures, NOTHING, seeded()), pictures, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_the_generator_alone_decides(kind):
    pictures, before = draw(), torch.random.get_rng_state()
    first, again = (augment(pictures, AUGMENTATIONS[kind], seeded(3)) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, augment(pictures, AUGMENTATIONS[kind], seeded(4)))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("how", [*AUGMENTATIONS.values(), Augmentation(180, 1, 0.9, 1, flip=True, light=2)])
def test_pixels_stay_in_the_unit_range_and_keep_their_shape(how):
    pictures = draw(images=64).round()  # black and white: nothing may leave the range at either end
    changed = augment(pictures, how, seeded())
    assert changed.shape == pictures.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.isfinite(changed).all()


def test_each_picture_is_changed_on_its_own():
    same = draw(images=1).expand(4, -1, -1, -1)
    changed = augment(same, AUGMENTATIONS["characters"], seeded())
    assert all(not torch.equal(changed[0], other) for other in changed[1:])


def test_a_flip_mirrors_some_pictures_left_to_right_and_leaves_the_others():
    pictures = draw(images=40)
    changed = augment(pictures, Augmentation(0, 0, 0, 0, flip=True), seeded())
    mirrored = [torch.allclose(new, old.flip(-1), atol=1e-5) for new, old in zip(changed, pictures, strict=True)]
    kept = [torch.allclose(new, old, atol=1e-5) for new, old in zip(changed, pictures, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 10 < sum(mirrored) < 30


def test_a_shift_moves_by_at_most_its_share_of_the_side():
    pictures = torch.zeros(200, 1, 20, 20)
    pictures[:, :, 10, 10] = 1
    changed = augment(pictures, Augmentation(0, 0, 0, shift=0.2), seeded())
    rows, columns = changed.flatten(1).argmax(dim=1) // 20, changed.flatten(1).argmax(dim=1) % 20
    for places in (rows, columns):
        assert (places - 10).abs().max() in (4, 5)  # .2 of 20 pixels, and half a pixel of rounding
        assert places.min() < 8
        assert places.max() > 12


def test_light_changes_brightness_alone():
    flat = torch.full((50, 3, 6, 6), 0.5)
    changed = augment(flat, Augmentation(0, 0, 0, 0, light=0.4), seeded())
    assert changed.flatten(1).std(dim=1).max() < 1e-6  # a flat picture stays flat
    assert 0.3 <= changed.min() < 0.4  # brightness by up to half of the share
    assert 0.6 < changed.max() <= 0.7


def test_a_turn_is_a_turn_and_not_a_stretch():
    side = 33
    axis = torch.linspace(-1, 1, side)
    disc = ((axis[:, None] ** 2 + axis**2) < 0.5).float().expand(8, 1, -1, -1)
    changed = augment(disc, Augmentation(degrees=90, shear=0, zoom=0, shift=0), seeded())
    assert (changed - disc).abs().mean() < 0.03  # a disc looks the same from everywhere


def test_quarter_turns_and_mirrors_give_the_eight_pictures_of_a_square():
    picture = torch.zeros(1, 1, 8, 8)
    picture[..., 0, 0], picture[..., 0, 5] = 1.0, 0.5
    still = Augmentation(degrees=0, shear=0, zoom=0, shift=0, flip=True, quarter_turns=True)
    turned = augment(picture.repeat(200, 1, 1, 1), still, torch.Generator().manual_seed(0))
    expected = [torch.rot90(side, turns, (2, 3)) for side in (picture, picture.flip(3)) for turns in range(4)]
    nearest = [min(range(8), key=lambda number: (one - expected[number]).abs().max().item()) for one in turned]
    assert set(nearest) == set(range(8))
    for one, number in zip(turned, nearest, strict=True):
        torch.testing.assert_close(one[None], expected[number], atol=1e-4, rtol=0)
