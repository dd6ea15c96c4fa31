from __future__ import annotations

import math

import pytest

from bict.errors import DataError
from bict.evaluation.criterion import ForwardCriterion, empirical_criterion, forward_criterion


def test_a_tie_with_the_old_system_does_not_pass():
    assert empirical_criterion(0.5, 0.4)
    assert not empirical_criterion(0.4, 0.4)
    assert not empirical_criterion(0.3, 0.4)


def test_published_scores_pass_and_fail():
    # ImageNet top-1 with an old self-test of 39.5: new queries of BCT reach 42.2, those of L2 regression 13.0
    assert empirical_criterion(42.2, 39.5)
    assert not empirical_criterion(13.0, 39.5)


def test_an_upgraded_gallery_is_held_against_both():
    # old self-test .4: upgraded .5 beats it; against the untouched gallery (.45, .5, .55) it wins, ties, loses
    assert forward_criterion(0.5, 0.45, 0.4) == ForwardCriterion(beats_old=True, beats_cross=True)
    assert forward_criterion(0.5, 0.5, 0.4) == ForwardCriterion(beats_old=True, beats_cross=False)
    assert forward_criterion(0.4, 0.3, 0.4) == ForwardCriterion(beats_old=False, beats_cross=True)


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
def test_an_unknown_score_neither_passes_nor_fails(unknown):
    for scores in ((unknown, 0.4), (0.4, unknown)):
        with pytest.raises(DataError, match=r"^found scores .*, expected finite numbers"):
            empirical_criterion(*scores)
    for place in range(3):
        scores = [0.5, 0.45, 0.4]
        scores[place] = unknown
        with pytest.raises(DataError, match=r"^found scores .*, expected finite numbers"):
            forward_criterion(*scores)
