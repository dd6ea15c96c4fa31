"""One number for an upgrade over several data sets: the scores of AdvBCT.

Pan et al., "Boundary-Aware Backward-Compatible Representation via Adversarial Learning in Image Retrieval", CVPR 2023,
arXiv 2305.02610. Arguments are lists over the data sets, in one order, of scores such as a mAP; any one unit serves, as
only ratios count. The logistic `s(x) = 1 / (1 + exp(-x))` keeps one data set from deciding the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bict.errors import DataError
from bict.evaluation.compatibility import Score, relative_compatibility_tax, update_gain


def p_up(new_self: Sequence[float], oracle: Sequence[float]) -> Score:
    """What compatibility costs the new model, `P_up = 100 mean_k s((M_k(new, new) - M_k(*, *)) / M_k(*, *))`.

    50 where the compatible model is as good as the oracle, below 50 where it pays a tax. Undefined where an oracle
    scores 0 or less.

    Raises:
        DataError: no data set, or lists of different lengths.
    """
    taxes = [relative_compatibility_tax(*scores) for scores in _data_sets(new_self, oracle)]
    return _mean_logistic([Score(-tax.value, tax.reason) for tax in taxes])


def p_comp(cross: Sequence[float], old_self: Sequence[float], oracle: Sequence[float]) -> Score:
    """What new queries on the old gallery gain, `P_comp = 100 mean_k s(G_k)`, with `G_k` the update gain of BCT.

    50 where nothing is gained, 73.106 where as much as by a full backfill with the oracle. Undefined where an oracle
    is not better than its old model.

    Raises:
        DataError: no data set, or lists of different lengths.
    """
    return _mean_logistic([update_gain(*scores) for scores in _data_sets(cross, old_self, oracle)])


def p_1(up: float, comp: float) -> Score:
    """Both in one number, the harmonic mean `P_1 = 2 P_up P_comp / (P_up + P_comp)`.

    Undefined where one of them is, or where one is not above 0.
    """
    if not (up > 0 and comp > 0):
        return Score(math.nan, f"P_up ({up:.4g}) and P_comp ({comp:.4g}) must both be above 0")
    return Score(2 * up * comp / (up + comp))


def _data_sets(*lists: Sequence[float]) -> list[tuple[float, ...]]:
    lengths = [len(scores) for scores in lists]
    if not lengths[0] or len(set(lengths)) > 1:
        raise DataError(f"found scores of {', '.join(map(str, lengths))} data sets, expected as many in every list")
    return list(zip(*lists, strict=True))


def _mean_logistic(scores: Sequence[Score]) -> Score:
    for place, score in enumerate(scores):
        if score.reason:
            return Score(math.nan, f"data set {place}: {score.reason}")
    return Score(100 * math.fsum(_logistic(score.value) for score in scores) / len(scores))


def _logistic(x: float) -> float:
    """`1 / (1 + exp(-x))` without overflow."""
    return (1 + math.tanh(x / 2)) / 2
