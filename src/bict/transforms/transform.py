"""The forward transform psi: old vectors of the gallery to vectors of the new model."""

from __future__ import annotations

from typing import ClassVar

from bict.transforms.card import FORWARD, Direction
from bict.transforms.directed import CARD, Directed

__all__ = ["CARD", "Transform"]


class Transform(Directed):
    """Carries stored old vectors into the space of the new model, and refuses to do anything else.

    Attributes:
        rung: the fitted map.
        source: space of the stored old vectors.
        target: space of the new model.
        data_hash: SHA-256 of the pairs the rung was fitted on, or None.
        scores: how the rung was chosen, or None.
        created: UTC time of the fit, ISO 8601.
        path: directory it was last written to or read from, or None.
    """

    direction: ClassVar[Direction] = FORWARD
    noun: ClassVar[str] = "transform"
    takes: ClassVar[str] = "stored old vectors"
