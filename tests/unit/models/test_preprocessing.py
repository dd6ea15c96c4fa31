from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bict.errors import SettingsError, UnknownName
from bict.models.preprocessing import Preprocessing, default_preprocessing


def test_pixels_become_channels_first_and_lie_in_zero_to_one():
    pixels = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    unit = default_preprocessing("conv-small", 3, 8).to_unit(pixels)
    assert unit.shape == (2, 3, 8, 8)
    assert unit.dtype == torch.float32
    np.testing.assert_allclose(unit[1, 2].numpy(), pixels[1, :, :, 2] / 255, rtol=1e-6)


def test_mean_and_deviation_are_taken_out_by_channel():
    preprocessing = Preprocessing(size=8, channels=3, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    normalised = preprocessing.normalise(torch.ones(2, 3, 8, 8))
    assert normalised[:, :, 0, 0].tolist() == [[1.0, 3.0, 0.5]] * 2


@pytest.mark.parametrize(
    ("backbone", "channels", "mean", "std"),
    [
        ("conv-base", 1, (0,), (1,)),
        ("conv-base", 3, (0,) * 3, (1,) * 3),
        ("timm:resnet18", 1, (0,), (1,)),
        ("timm:resnet18", 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("timm:vit_tiny_patch16_224", 3, (0.5,) * 3, (0.5,) * 3),
        ("timm:vit_tiny_patch16_224.augreg_in21k", 3, (0.5,) * 3, (0.5,) * 3),
        ("timm:tf_efficientnet_lite0", 3, (0.498,) * 3, (0.502,) * 3),
    ],
)
def test_a_backbone_gets_what_it_was_pretrained_with(backbone, channels, mean, std):
    expected = Preprocessing(size=32, channels=channels, mean=mean, std=std)
    assert default_preprocessing(backbone, channels, 32) == expected


@pytest.mark.parametrize(
    ("size", "channels", "message"),
    [
        (7, 1, "image size = 7: input should be greater than or equal to 8"),
        (4096, 3, "image size = 4096: input should be less than or equal to 2048"),
        (32, 2, "image channels = 2: input should be 1 or 3"),
    ],
)
def test_a_size_or_channels_that_cannot_be_used_are_refused(size, channels, message):
    for backbone in ("conv-base", "timm:resnet18"):
        with pytest.raises(SettingsError) as caught:
            default_preprocessing(backbone, channels, size)
        assert str(caught.value) == message


@pytest.mark.parametrize("name", ["timm:resnt18", "timm:resnet18.a1_in2k"])
def test_an_unknown_timm_backbone_names_the_nearest(name):
    with pytest.raises(UnknownName, match="did you mean 'resnet18"):
        default_preprocessing(name, 3, 64)


@pytest.mark.parametrize(
    "change", [{"mean": (0.0,)}, {"std": (1.0, 1.0)}, {"std": (1.0, 0.0, 1.0)}, {"std": (1.0, -1.0, 1.0)}]
)
def test_mean_and_deviation_must_fit_the_channels(change):
    with pytest.raises(ValidationError, match="mean and std need 3 values"):
        Preprocessing(**({"size": 8, "channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3} | change))
