"""What an upgrade gains and what compatibility costs, from scores of whole systems.

Every argument is one score, such as a mAP, of the same queries and gallery: higher is better. The oracle is the new
model trained freely, without a compatibility term, with the gallery re-embedded by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A number, or NaN with the reason why it is undefined; the reason is empty for a number."""

    value: float
    reason: str = ""


def update_gain(cross: float, old_self: float, oracle: float) -> Score:
    """Gain of new queries on the old gallery, as part of what a full backfill gains.

    `G = (M(q=new, g=old) - M(old, old)) / (M(oracle, oracle) - M(old, old))`: 0 is no gain, 1 as good as a backfill,
    below 0 a loss. Equation 9 of BCT (Shen et al., "Towards Backward-Compatible Representation Learning", CVPR 2020,
    arXiv 2003.11942). Undefined where the oracle is not better than the old model.
    """
    return _share(cross, old_self, oracle)


def recovered_share(upgraded: float, old_self: float, oracle: float) -> Score:
    """Gain of new queries on the upgraded gallery, as part of what a full backfill gains.

    `(M(q=new, g=upgraded) - M(old, old)) / (M(oracle, oracle) - M(old, old))`: the update gain of BCT (Shen et al.,
    CVPR 2020, arXiv 2003.11942, equation 9) with upgraded vectors in place of the old ones. Undefined where the
    oracle is not better than the old model.
    """
    return _share(upgraded, old_self, oracle)


def compatibility_tax(new_self: float, oracle: float) -> Score:
    """What training for compatibility costs the new model, `M(oracle, oracle) - M(new, new)`, in units of the score.

    Set against the freely trained model as in BCT (Shen et al., CVPR 2020, arXiv 2003.11942). Below 0 the compatible
    model is the better one.
    """
    return _unknown(new_self, oracle) or Score(oracle - new_self)


def relative_compatibility_tax(new_self: float, oracle: float) -> Score:
    """The compatibility tax as part of the oracle's score, `(M(oracle, oracle) - M(new, new)) / M(oracle, oracle)`.

    Undefined where the oracle scores 0 or less.
    """
    if unknown := _unknown(new_self, oracle):
        return unknown
    if oracle <= 0:
        return Score(math.nan, f"the oracle scores {oracle:.4g}, so the tax is no part of it")
    return Score((oracle - new_self) / oracle)


def _share(reached: float, old_self: float, oracle: float) -> Score:
    if unknown := _unknown(reached, old_self, oracle):
        return unknown
    if oracle <= old_self:
        return Score(math.nan, f"the oracle ({oracle:.4g}) is not better than the old model ({old_self:.4g})")
    return Score((reached - old_self) / (oracle - old_self))


def _unknown(*scores: float) -> Score | None:
    if all(math.isfinite(score) for score in scores):
        return None
    return Score(math.nan, "a score it is made of is not a finite number")
