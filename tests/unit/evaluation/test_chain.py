from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.errors import DataError, SettingsError
from bict.evaluation.chain import CompatibilityMatrix

nan = math.nan


@pytest.fixture
def three():
    return CompatibilityMatrix(np.array([[0.4, nan, nan], [0.5, 0.6, nan], [0.4, 0.5, 0.7]]))


def test_by_hand(three):
    # below the diagonal: .5 > .4 passes, .4 = .4 is a tie, .5 < .6 fails: 1 of 3, or 2 of 3 with ties
    assert three.average_compatibility(ties="failure").value == pytest.approx(1 / 3)
    assert three.average_compatibility(ties="success").value == pytest.approx(2 / 3)
    # (.4 + .5 + .6 + .4 + .5 + .7) / 6 = 3.1 / 6
    assert three.average_score() == pytest.approx(3.1 / 6)
    # last model on old galleries: (.4 - .4), (.5 - .6): mean -.05
    assert three.backward_compatibility().value == pytest.approx(-0.05)
    # each gallery for the next model: (.5 - .6), (.5 - .7): mean -.15
    assert three.forward_compatibility().value == pytest.approx(-0.15)


def test_what_lies_above_the_diagonal_is_not_read(three):
    filled = CompatibilityMatrix(np.where(np.isnan(three.scores), 99, three.scores))
    assert filled.average_score() == three.average_score()
    assert filled.forward_compatibility() == three.forward_compatibility()


matrices = st.integers(2, 5).flatmap(
    lambda size: st.lists(
        st.lists(st.sampled_from([0.25, 0.5, 0.75]), min_size=size, max_size=size), min_size=size, max_size=size
    )
)


@given(matrices)
def test_equal_to_slow_reference(rows):
    matrix, models = CompatibilityMatrix(np.array(rows)), range(len(rows))
    below = [(rows[t][k], rows[k][k]) for t in models for k in range(t)]
    strict = sum(cross > own for cross, own in below) / len(below)
    lenient = sum(cross >= own for cross, own in below) / len(below)
    assert 0 <= strict <= lenient <= 1
    assert matrix.average_compatibility(ties="failure").value == pytest.approx(strict)
    assert matrix.average_compatibility(ties="success").value == pytest.approx(lenient)
    lower = [rows[t][k] for t in models for k in range(t + 1)]
    assert matrix.average_score() == pytest.approx(sum(lower) / len(lower))
    backward = [rows[-1][k] - rows[k][k] for k in models][:-1]
    assert matrix.backward_compatibility().value == pytest.approx(sum(backward) / len(backward))
    forward = [rows[t][t - 1] - rows[t][t] for t in models][1:]
    assert matrix.forward_compatibility().value == pytest.approx(sum(forward) / len(forward))


def test_one_model_alone_has_no_compatibility():
    alone = CompatibilityMatrix(np.array([[0.4]]))
    assert alone.average_score() == 0.4
    for summary in (
        alone.average_compatibility(ties="failure"),
        alone.backward_compatibility(),
        alone.forward_compatibility(),
    ):
        assert math.isnan(summary.value)
        assert summary.reason == "a chain of one model has no cross-test"


@pytest.mark.parametrize("scores", [np.zeros((2, 3)), np.zeros(4), np.zeros((0, 0))])
def test_other_shapes_are_refused(scores):
    with pytest.raises(DataError, match=r"^found scores of shape .*, expected \(models, models\)"):
        CompatibilityMatrix(scores)


def test_a_missing_score_is_named():
    with pytest.raises(DataError, match=r"^found C\[1, 0\]=nan"):
        CompatibilityMatrix(np.array([[0.4, nan], [nan, 0.6]]))


def test_unknown_rule_for_ties_is_refused(three):
    with pytest.raises(SettingsError, match=r"^found ties='half'"):
        three.average_compatibility(ties="half")
