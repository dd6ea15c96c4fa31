"""Fit pairs: the same pictures for both models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from bict.data import ImageSet
from bict.errors import DataError, SettingsError
from bict.models import Encoder, Model, default_preprocessing, embed_images, make_model
from bict.training.augment import PAIR_AUGMENTATIONS, augment
from bict.training.pairs import embed_pairs

VIEWS = 3


def untrained(size: int, channels: int, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    preprocessing = default_preprocessing("conv-small", channels, size)
    encoder = Encoder("conv-small", "gem", 16, channels)
    options = {"name": "untrained", "backbone": "conv-small", "pooling": "gem", "neck_dim": 16}
    return make_model(encoder, preprocessing=preprocessing, **options)


@pytest.fixture
def few(images: ImageSet) -> ImageSet:
    return images.take(np.arange(0, 96, 8))


def test_view_0_is_what_embed_images_gives_and_the_others_differ(old_model, new_model, few):
    pairs = embed_pairs(old_model, new_model, few, views=VIEWS)
    for side, model in ((pairs.old, old_model), (pairs.new, new_model)):
        assert side.shape == (VIEWS, len(few), 16)
        np.testing.assert_allclose(side[0], embed_images(model, few).vectors, atol=1e-6)
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(side[one] - side[other]).max(axis=1).min() > 1e-4


def test_both_models_see_the_same_augmented_picture(new_model, few):
    pairs = embed_pairs(new_model, new_model, few, views=VIEWS)
    np.testing.assert_allclose(pairs.old, pairs.new, atol=1e-6)


@pytest.mark.parametrize(
    "shapes", [((16, 1), (24, 1)), ((24, 1), (16, 1)), ((16, 1), (16, 3)), ((24, 3), (16, 1))], ids=str
)
def test_models_of_another_size_or_number_of_channels_see_it_too(few, shapes):
    old, new = (untrained(*shape) for shape in shapes)
    pairs = embed_pairs(old, new, few, views=VIEWS)
    for side, model in ((pairs.old, old), (pairs.new, new)):
        np.testing.assert_allclose(side[0], embed_images(model, few).vectors, atol=1e-6)


def test_the_smaller_model_sees_the_larger_ones_picture_scaled_down(few):
    small, large = untrained(16, 1), untrained(32, 1, seed=1)
    pairs = embed_pairs(small, large, few, views=2, seed=7)
    pixels = torch.from_numpy(few.pixels(np.arange(len(few)), 32, 1)).permute(0, 3, 1, 2) / 255
    picture = augment(pixels, PAIR_AUGMENTATIONS["characters"], torch.Generator().manual_seed(7))
    smaller = functional.interpolate(picture, (16, 16), mode="bilinear", antialias=True)
    with torch.no_grad():
        np.testing.assert_allclose(pairs.new[1], large.encoder(picture).numpy(), atol=1e-6)
        np.testing.assert_allclose(pairs.old[1], small.encoder(smaller).numpy(), atol=1e-6)


def test_labels_are_rows_of_the_new_classifier(old_model, new_model, few):
    pairs = embed_pairs(old_model, new_model, few, views=1)
    np.testing.assert_array_equal(pairs.prototypes, new_model.classifier.numpy())
    assert [new_model.card.classes[row] for row in pairs.labels] == few.labels.tolist()


def test_labels_follow_the_classifier_and_not_the_alphabet(new_model, few):
    card = new_model.card.model_copy(update={"classes": new_model.card.classes[::-1]})
    turned = Model(new_model.encoder, card, new_model.classifier.flip(0))
    pairs = embed_pairs(new_model, turned, few, views=1)
    rows = [new_model.card.classes.index(name) for name in few.labels]
    np.testing.assert_array_equal(pairs.prototypes[pairs.labels], new_model.classifier[rows].numpy())


def test_unknown_classes_leave_the_prototypes_out(old_model, few):
    pairs = embed_pairs(old_model, old_model, few, views=1)  # the model knows 4 of the 8 classes
    assert pairs.prototypes is None
    np.testing.assert_array_equal(pairs.labels, np.unique(few.labels, return_inverse=True)[1])


def test_a_model_without_classifier_leaves_the_prototypes_out(old_model, few):
    assert embed_pairs(old_model, untrained(16, 1), few, views=1).prototypes is None


def test_the_seed_decides_over_the_views(new_model, few):
    first, again, other = (embed_pairs(new_model, new_model, few, views=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.new, again.new)
    assert np.abs(first.new[1] - other.new[1]).max() > 1e-3
    np.testing.assert_array_equal(first.new[0], other.new[0])


def test_progress_ends_at_the_number_of_images(new_model, few):
    calls: list[tuple[int, int]] = []
    embed_pairs(new_model, new_model, few, views=1, progress=lambda *call: calls.append(call))
    assert calls[-1] == (12, 12)


def test_no_view_and_no_image_are_refused(new_model, few):
    with pytest.raises(SettingsError, match=r"views must be at least 1.*found 0"):
        embed_pairs(new_model, new_model, few, views=0)
    with pytest.raises(DataError, match="no training images"):
        embed_pairs(new_model, new_model, few.take(np.arange(0)))
