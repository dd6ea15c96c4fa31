"""Whether an upgrade may be called compatible, from scores of whole systems: the empirical criterion.

Every argument is one score, such as a mAP, of the same queries and gallery: higher is better. A tie does not pass. A
pass says nothing of a gallery that is only partly backfilled: see `BackfillCurve`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bict.errors import DataError


@dataclass(frozen=True)
class ForwardCriterion:
    """What new queries on the upgraded gallery are better than.

    Attributes:
        beats_old: `M(q=new, g=upgraded) > M(old, old)`: the upgrade is worth more than no new model.
        beats_cross: `M(q=new, g=upgraded) > M(q=new, g=old)`: it is worth more than leaving the gallery alone.
    """

    beats_old: bool
    beats_cross: bool


def empirical_criterion(cross: float, old_self: float) -> bool:
    """Whether new queries on the old gallery beat the old system, `M(q=new, g=old) > M(old, old)`.

    The empirical compatibility criterion of BCT (Shen et al., "Towards Backward-Compatible Representation Learning",
    CVPR 2020, arXiv 2003.11942).

    Raises:
        DataError: a score is not a finite number.
    """
    _require_known(cross, old_self)
    return cross > old_self


def forward_criterion(upgraded: float, cross: float, old_self: float) -> ForwardCriterion:
    """The empirical criterion for an upgraded gallery, against the old system and against the untouched gallery.

    `M(q=new, g=upgraded) > M(old, old)` as in FCT (Ramanujan et al., "Forward Compatible Training for Large-Scale
    Embedding Retrieval Systems", CVPR 2022, arXiv 2112.02805), and `> M(q=new, g=old)`, which shows that the forward
    transform adds to backward compatible training.

    Raises:
        DataError: a score is not a finite number.
    """
    _require_known(upgraded, cross, old_self)
    return ForwardCriterion(upgraded > old_self, upgraded > cross)


def _require_known(*scores: float) -> None:
    if not all(math.isfinite(score) for score in scores):
        raise DataError(f"found scores {', '.join(f'{s:.4g}' for s in scores)}, expected finite numbers to compare")
