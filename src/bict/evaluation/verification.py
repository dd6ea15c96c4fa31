"""Verification of pairs, as with faces: whether two images show one person."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.errors import DataError, SettingsError

WHOLE = 1e-9
"""Rounding error that `far * pairs` may have below a whole number of pairs."""


@dataclass(frozen=True)
class TrueAcceptRate:
    """What a system accepts at a threshold: the pairs whose similarity is above it, not those at it.

    Attributes:
        rate: share of the same-person pairs that are accepted, in 0 to 1.
        threshold: in units of the similarity.
        false_accept_rate: share of the other pairs that are accepted; with ties below the rate asked for.
    """

    rate: float
    threshold: float
    false_accept_rate: float


def true_accept_rate(similarities: NDArray[Any], same_person: NDArray[Any], far: float) -> TrueAcceptRate:
    """TAR@FAR: the share of same-person pairs accepted while at most a share `far` of the other pairs is.

    A pair is accepted where its similarity is above the threshold. Of n impostor pairs `floor(far * n)` may be
    accepted, so the threshold is the similarity of the next one, in falling order: any lower threshold accepts too
    many. It is always the similarity of a pair: nothing is interpolated. BCT (Shen et al., CVPR 2020, arXiv
    2003.11942) reports it on the face pairs of IJB-C.

    Args:
        similarities: `(pairs,)`, higher is more alike.
        same_person: `(pairs,)` true for pairs of one person, false for impostors.
        far: the false accept rate, above 0 and below 1, such as 1e-4.

    Raises:
        DataError: shapes that differ, a NaN, no pair of one person, or too few impostor pairs for this rate.
        SettingsError: a rate outside 0 to 1.
    """
    scores, same = np.asarray(similarities), np.asarray(same_person)
    if not 0 < far < 1:
        raise SettingsError(f"found far={far}, expected a share between 0 and 1, such as 1e-4")
    if scores.shape != same.shape or scores.ndim != 1 or same.dtype != np.bool_:
        found = f"similarities of shape {scores.shape} and flags of shape {same.shape} and type {same.dtype}"
        raise DataError(f"found {found}, expected a number and one true or false for each pair")
    if np.isnan(scores).any():
        raise DataError(f"{int(np.isnan(scores).sum())} of {len(scores)} similarities are NaN: leave these pairs out")
    genuine, impostors = scores[same], scores[~same]
    if not len(genuine):
        raise DataError(f"none of {len(scores)} pairs is of one person: there is nothing to accept")
    accepted = math.floor(far * len(impostors) + WHOLE)
    if not accepted:
        needed = math.ceil(1 / far - WHOLE)
        raise DataError(f"found {len(impostors)} impostor pairs, expected at least {needed} for far={far:g}")
    place = len(impostors) - 1 - accepted
    threshold = np.partition(impostors, place)[place]
    return TrueAcceptRate(
        rate=float(np.mean(genuine > threshold)),
        threshold=float(threshold),
        false_accept_rate=float(np.mean(impostors > threshold)),
    )
