"""Augmentation on batches of pixels in [0, 1], per kind of data; drawn from the given generator alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Ranges from which each image's own change is drawn.

    Attributes:
        degrees: turn by up to this angle.
        shear: shear by up to this factor.
        zoom: scale by a factor in [1 - zoom, 1 + zoom].
        shift: shift by up to this share of the image side.
        flip: mirror half of the images.
        light: brightness and contrast change by up to this share.
        quarter_turns: first turn by 0, 90, 180 or 270 degrees.
    """

    degrees: float
    shear: float
    zoom: float
    shift: float
    flip: bool = False
    light: float = 0.0
    quarter_turns: bool = False


AUGMENTATIONS = {
    "characters": Augmentation(degrees=12, shear=0.15, zoom=0.15, shift=0.08),
    "photos": Augmentation(degrees=8, shear=0.05, zoom=0.2, shift=0.08, flip=True, light=0.25),
}
PAIR_AUGMENTATIONS = {
    "characters": replace(AUGMENTATIONS["characters"], flip=True, quarter_turns=True),
    "photos": AUGMENTATIONS["photos"],
}
"""For the pairs a transform is fitted on: a turned or mirrored character is of a class nobody was trained on, and so
more like the gallery's classes than the training classes are, whose vectors the new model has drawn together."""


def augment(unit: torch.Tensor, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Each image `(images, channels, size, size)` turned, sheared, scaled, shifted and lit on its own; edges repeat."""
    count = len(unit)

    def draw(limit: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle, shear, scale = draw(math.radians(how.degrees)), draw(how.shear), 1 + draw(how.zoom)
    if how.quarter_turns:
        angle = angle + torch.randint(4, (count,), generator=generator) * (math.pi / 2)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0) if how.flip else torch.ones(count)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    across = torch.stack([mirror * cos, shear * cos - sin, draw(2 * how.shift)], dim=1)
    down = torch.stack([mirror * sin, shear * sin + cos, draw(2 * how.shift)], dim=1)
    change = torch.stack([across, down], dim=1).to(unit.device)
    grid = functional.affine_grid(change, list(unit.shape), align_corners=False)
    moved = functional.grid_sample(unit, grid, padding_mode="border", align_corners=False)
    if not how.light:
        return moved
    contrast = (1 + draw(how.light)).view(-1, 1, 1, 1).to(unit.device)
    brightness = draw(how.light / 2).view(-1, 1, 1, 1).to(unit.device)
    return ((moved - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)
