from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.reports.numbers import half_width, interval, percent, score, seconds, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4534, ".453"), (0, ".000"), (1, "1.00"), (0.9996, "1.00"), (-0.007, "-.007"), (math.nan, "-"), (None, "-")],
)
def test_score(value: float | None, text: str) -> None:
    assert score(value) == text


@given(st.floats(0, 1))
def test_a_score_is_four_characters_and_at_most_half_a_thousandth_off(value: float) -> None:
    assert len(score(value)) == 4
    assert float(score(value)) == pytest.approx(value, abs=0.000501)


@pytest.mark.parametrize(("value", "text"), [(0.046, "+.046"), (-0.007, "-.007"), (None, "-")])
def test_signed(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_intervals() -> None:
    assert interval((0.441, 0.465)) == ".441-.465"
    assert half_width((0.441, 0.465)) == "±.012"
    assert interval((math.nan, 0.4)) == "-"
    assert half_width((math.nan, 0.4)) == ""


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.414, 0, "41 %"),
        (0.0414, 1, "4.1 %"),
        (-0.001, 0, "0 %"),
        (1.06, 0, "106 %"),
        (None, 0, "-"),
        (math.inf, 0, "-"),
    ],
)
def test_percent(share: float | None, digits: int, text: str) -> None:
    assert percent(share, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "<0.01 s"),
        (0.06, "0.06 s"),
        (0.41, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (182.5, "3 min 02 s"),
        (7500, "2 h 05 min"),
        (math.nan, "-"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text
