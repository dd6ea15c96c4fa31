from __future__ import annotations

import pytest
import torch

from bict.errors import SettingsError, UnknownName
from bict.models import BACKBONES, POOLINGS, Encoder


def vectors_of(encoder: Encoder, channels: int, size: int, images: int = 3) -> torch.Tensor:
    pixels = torch.rand(images, channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return encoder.eval()(pixels)


@pytest.mark.parametrize("dim", [0, 8, 300])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_vectors_are_unit_length(backbone, pooling, dim):
    torch.manual_seed(0)
    encoder = Encoder(backbone, pooling, dim, 1)
    vectors = vectors_of(encoder, 1, 28)
    assert encoder.dim == (dim or encoder.backbone.features)
    assert vectors.shape == (3, encoder.dim)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert (vectors[0] - vectors[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("backbone", "size", "features"),
    [
        ("timm:resnet18", 64, 512),
        ("timm:vit_tiny_patch16_224", 224, 192),
        ("timm:mobilenetv3_small_100", 64, 1024),
    ],
)
def test_timm_vectors_are_unit_length(backbone, size, features):
    for pooling, dim in (("gem", 8), ("average", 0)):
        torch.manual_seed(0)
        vectors = vectors_of(Encoder(backbone, pooling, dim, 3), 3, size)
        assert vectors.shape == (3, dim or features)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_without_a_neck_the_vector_is_the_pooled_feature():
    torch.manual_seed(0)
    encoder = Encoder("conv-small", "average", 0, 1).eval()
    pixels = torch.rand(2, 1, 28, 28)
    with torch.inference_mode():
        pooled = encoder.backbone(pixels).mean((2, 3))
        torch.testing.assert_close(encoder(pixels), pooled / pooled.norm(dim=1, keepdim=True))
    assert not list(encoder.neck.parameters())


def test_an_image_is_embedded_by_itself():
    torch.manual_seed(0)
    encoder = Encoder("conv-small", "gem", 8, 1).eval()
    pixels = torch.rand(4, 1, 28, 28)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(pixels)[2:3], encoder(pixels[2:3]))


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    encoder = Encoder("conv-small", "gem", 8, 1)
    encoder(torch.rand(4, 1, 28, 28))[:, 0].sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in encoder.parameters())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("conv-base", "gem", -1, 1), SettingsError, r"dim must be 0 \(no neck\) or positive, found -1"),
        (("conv-bse", "gem", 8, 1), UnknownName, "unknown backbone 'conv-bse': did you mean 'conv-base'?"),
        (("conv-base", "averag", 8, 1), UnknownName, "unknown pooling 'averag': did you mean 'average'?"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Encoder(*arguments)
