"""Turned pictures and the rows they are compared with."""

from __future__ import annotations

import numpy as np
import torch

from bict.models import embed_images
from bict.training.backward import look_at
from bict.training.turned import TURNS, draw_quarters, embed_turned, turn


def test_each_picture_is_turned_by_its_own_quarters():
    unit = torch.arange(4 * 1 * 3 * 3, dtype=torch.float32).reshape(4, 1, 3, 3)
    turned = turn(unit, torch.tensor([0, 1, 2, 3]))
    for quarter in range(TURNS):
        np.testing.assert_array_equal(turned[quarter, 0], np.rot90(unit[quarter, 0].numpy(), quarter))


def test_a_share_of_the_batch_is_turned_and_every_turn_occurs():
    quarters = draw_quarters(400, 0.25, torch.Generator().manual_seed(0))
    assert (quarters[:100] > 0).all()
    assert (quarters[100:] == 0).all()
    assert sorted(set(quarters[:100].tolist())) == [1, 2, 3]
    assert draw_quarters(7, 0.0, torch.Generator()).tolist() == [0] * 7


def test_no_turn_embeds_the_picture_itself_and_four_turns_lead_back(old_model, images):
    plain = embed_images(old_model, images).vectors
    np.testing.assert_allclose(embed_turned(old_model, images, 0), plain, atol=1e-6)
    np.testing.assert_allclose(embed_turned(old_model, images, 4), plain, atol=1e-6)
    assert not np.allclose(embed_turned(old_model, images, 1), plain, atol=1e-2)


def test_characters_get_rows_for_every_turn_and_photos_do_not(old_model, images, settings):
    classes = np.unique(images.labels)
    view = look_at(old_model, images, classes, settings(turned=0.5, augment=True))
    assert (view.turns, view.view.prototypes.shape) == (TURNS, (TURNS * 8, 16))
    own = embed_turned(old_model, images, 2)[images.labels == classes[3]].mean(axis=0)
    np.testing.assert_allclose(view.view.prototypes[2 * 8 + 3], own / np.linalg.norm(own), atol=1e-5)
    photos = type(images)("photos", "photos", images.ids, images.labels, images.parts, images.source)
    assert look_at(old_model, photos, classes, settings(turned=0.5, augment=True)).turns == 1
    for plain in ({"turned": 0}, {"augment": False}, {"backward_weight": 0}):
        assert look_at(old_model, images, classes, settings(**{"turned": 0.5, "augment": True, **plain})).turns == 1
