from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.evaluation.compatibility import (
    Score,
    compatibility_tax,
    recovered_share,
    relative_compatibility_tax,
    update_gain,
)

SHARES = [update_gain, recovered_share]
score = st.floats(0, 1)


@pytest.mark.parametrize("share", SHARES)
def test_by_hand(share):
    # old .4, oracle .6, reached .55: (.55 - .4) / (.6 - .4) = .75; reached .3: -.5; reached .7: 1.5
    for reached, expected in ((0.55, 0.75), (0.3, -0.5), (0.7, 1.5)):
        assert share(reached, 0.4, 0.6).value == pytest.approx(expected)
        assert share(reached, 0.4, 0.6).reason == ""


@pytest.mark.parametrize("share", SHARES)
@given(old=score, oracle=score)
def test_identities(share, old, oracle):
    if oracle > old:
        assert share(old, old, oracle) == Score(0.0)
        assert share(oracle, old, oracle) == Score(1.0)
    else:
        undefined = share(oracle, old, oracle)
        assert math.isnan(undefined.value)
        assert "is not better than the old model" in undefined.reason


def test_published_numbers():
    # mAP on ImageNet with old 28.3, upgraded 39.9 and freely trained new model 45.6 (forward transform without side
    # information): 11.6 of 17.3
    assert recovered_share(39.9, 28.3, 45.6).value == pytest.approx(11.6 / 17.3)


def test_tax_by_hand():
    # oracle .50, compatible model .45: tax .05, a tenth of the oracle; a better compatible model pays a negative tax
    assert compatibility_tax(0.45, 0.5).value == pytest.approx(0.05)
    assert relative_compatibility_tax(0.45, 0.5).value == pytest.approx(0.1)
    assert relative_compatibility_tax(0.6, 0.5).value == pytest.approx(-0.2)
    assert compatibility_tax(0.5, 0.5) == relative_compatibility_tax(0.5, 0.5) == Score(0.0)


def test_tax_relative_to_nothing_is_undefined():
    undefined = relative_compatibility_tax(0.1, 0.0)
    assert math.isnan(undefined.value)
    assert undefined.reason == "the oracle scores 0, so the tax is no part of it"
    assert compatibility_tax(0.1, 0.0) == Score(-0.1)


@pytest.mark.parametrize(
    ("measure", "arguments"),
    [(update_gain, 3), (recovered_share, 3), (compatibility_tax, 2), (relative_compatibility_tax, 2)],
)
def test_an_unknown_score_makes_the_result_unknown(measure, arguments):
    for place in range(arguments):
        scores = [0.5, 0.4, 0.6][:arguments]
        scores[place] = math.nan
        result = measure(*scores)
        assert math.isnan(result.value)
        assert "not a finite number" in result.reason
