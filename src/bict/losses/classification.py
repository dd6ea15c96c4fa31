"""Classification losses on unit vectors, by name; most are pytorch-metric-learning's."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pytorch_metric_learning import losses
from torch import nn
from torch.nn import functional

from bict.errors import UnknownName
from bict.losses.simplex import Known, simplex


def softmax(classes: int, dim: int, scale: float, _margin: float, _known: Known | None) -> nn.Module:
    """Cross-entropy of `scale * cos(z, w)`.

    Zhai, Wu: "Classification is a Strong Baseline for Deep Metric Learning", BMVC 2019, arXiv 1811.12649.
    """
    loss: nn.Module = losses.NormalizedSoftmaxLoss(classes, dim, temperature=1 / scale)
    return loss


def cosface(classes: int, dim: int, scale: float, margin: float, _known: Known | None) -> nn.Module:
    """Cross-entropy of `scale * (cos(z, w) - margin [own class])`. Wang et al.: "CosFace", CVPR 2018 (margin .35)."""
    loss: nn.Module = losses.CosFaceLoss(classes, dim, margin=margin, scale=scale)
    return loss


def arcface(classes: int, dim: int, scale: float, margin: float, _known: Known | None) -> nn.Module:
    """Cross-entropy of `scale * cos(angle(z, w) + margin [own class])`, margin in radians.

    Deng et al.: "ArcFace", CVPR 2019 (margin .5, scale 64); landmark retrieval commonly uses .3 and 30.
    """
    loss: nn.Module = losses.ArcFaceLoss(classes, dim, margin=math.degrees(margin), scale=scale)
    return loss


CLASSIFICATION_LOSSES: dict[str, Callable[[int, int, float, float, Known | None], nn.Module]] = {
    "softmax": softmax,
    "cosface": cosface,
    "arcface": arcface,
    "simplex": simplex,
}


def build_classification(
    name: str,
    classes: int,
    dim: int,
    *,
    scale: float,
    margin: float,
    known: Known | None = None,
) -> nn.Module:
    """A classification loss with its classifier; called with vectors `(batch, dim)` and labels `(batch,)`.

    Args:
        name: one of `CLASSIFICATION_LOSSES`.
        classes: how many classes are trained.
        dim: dimension of the vectors.
        scale: factor on the cosines.
        margin: of `cosface` and `arcface`.
        known: `(classes,)` row of each class in an old model's classifier, or -1, and that classifier
            `(old classes, dim)`, for a loss that goes on from it.

    Raises:
        UnknownName: none of `CLASSIFICATION_LOSSES`.
        SettingsError: a loss that cannot have so many classes, or cannot go on from that classifier.
    """
    if name not in CLASSIFICATION_LOSSES:
        raise UnknownName("classification loss", name, CLASSIFICATION_LOSSES)
    loss = CLASSIFICATION_LOSSES[name](classes, dim, scale, margin, known)
    with torch.no_grad():  # Adam's steps have a fixed size: they turn unit rows ten times as far as the library's own
        weight = loss.get_parameter("W")
        weight.copy_(functional.normalize(weight, dim=0))
    return loss


def classifier_of(loss: nn.Module, *, frozen: bool = True) -> torch.Tensor:
    """The unit rows `(classes, dim)` of a classification loss's classifier; without gradient where frozen."""
    weight = loss.get_parameter("W")
    return functional.normalize((weight.detach() if frozen else weight).T, dim=1).contiguous()
