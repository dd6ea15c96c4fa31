from __future__ import annotations

import numpy as np
import pytest
import torch

from bict.errors import DataError
from bict.models import default_preprocessing, embed_images
from bict.models.embed import embed_batches, encode


@pytest.fixture
def both(characters, photos):
    return {"characters": characters, "photos": photos}


@pytest.mark.parametrize("kind", ["characters", "photos"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_model_embeds_any_images(model, both, kind, channels):
    """Also a grey model photos, and an RGB model characters, at another size than their own."""
    made, images = model(channels=channels, size=20), both[kind]
    embedded = embed_images(made, images)
    assert embedded.ids.tolist() == images.ids.tolist()
    assert embedded.labels.tolist() == images.labels.tolist()
    assert embedded.space == made.space
    assert embedded.vectors.shape == (len(images), 16)
    np.testing.assert_allclose(np.linalg.norm(embedded.vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(embedded.vectors.round(4), axis=0)) == len(images)


@pytest.mark.parametrize("kind", ["characters", "photos"])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_batch_size_does_not_matter(model, both, kind, batch_size):
    made = model(channels=3)
    expected = embed_images(made, both[kind]).vectors
    np.testing.assert_allclose(embed_images(made, both[kind], batch_size=batch_size).vectors, expected, atol=1e-5)


def test_vectors_are_those_of_the_encoder(model, characters):
    preprocessing = default_preprocessing("conv-small", 1, 16).model_copy(update={"mean": (0.3,), "std": (0.5,)})
    made = model(preprocessing=preprocessing)
    pixels = torch.from_numpy(characters.source.array).float()[:, None] / 255
    with torch.inference_mode():
        expected = made.encoder.cpu().eval()((pixels - 0.3) / 0.5)
    np.testing.assert_allclose(embed_images(made, characters).vectors, expected, atol=1e-5)


def test_a_subset_gets_the_vectors_it_has_in_the_whole(model, characters):
    made, rows = model(), np.array([7, 0, 3])
    whole, part = embed_images(made, characters), embed_images(made, characters.take(rows))
    assert part.ids.tolist() == whole.ids[rows].tolist()
    np.testing.assert_allclose(part.vectors, whole.vectors[rows], atol=1e-5)


def test_a_model_in_training_mode_is_put_to_rest(model, characters):
    made = model()
    expected = embed_images(made, characters).vectors
    made.encoder.train()
    np.testing.assert_array_equal(embed_images(made, characters).vectors, expected)
    assert not made.encoder.training


def test_embedding_leaves_the_weights_alone(model, characters):
    made = model()
    before = {name: value.clone() for name, value in made.encoder.state_dict().items()}
    embed_images(made, characters)
    for name, value in made.encoder.state_dict().items():
        assert torch.equal(value.cpu(), before[name]), name


def test_no_images_give_no_vectors(model, characters):
    embedded = embed_images(model(), characters.take(np.array([], dtype=np.int64)))
    assert embedded.vectors.shape == (0, 16)
    assert len(embedded) == 0


def test_batches_come_in_order_and_tell_how_far_they_are(model, characters):
    made, seen = model(), []
    batches = list(embed_batches(made, characters, batch_size=4, progress=lambda *step: seen.append(step)))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert seen == [(4, 11), (8, 11), (11, 11)]
    np.testing.assert_array_equal(np.concatenate(batches), embed_images(made, characters, batch_size=4).vectors)


def test_pixels_can_be_embedded_directly(model, characters):
    made = model()
    vectors = encode(made, made.encoder.eval(), characters.pixels(np.arange(3), 16, 1))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, embed_images(made, characters).vectors[:3], atol=1e-5)


def test_a_photo_that_goes_missing_is_named(model, photos):
    photos.source.paths[3].unlink()
    with pytest.raises(DataError, match=r"3\.png cannot be read as an image: no such file"):
        embed_images(model(channels=3), photos)
