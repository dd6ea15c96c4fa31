from __future__ import annotations

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from tests.unit.reports.assessment_sample import UNKNOWN, around, make_assessment, make_verdicts

from bict.reports.assessment import AssessmentRecord, Confidence, CurvePoint, per_doubling
from bict.reports.assessment_figures import (
    confidence_chart,
    curve_chart,
    ends_chart,
    measured_points,
)

CHARTS: dict[str, Callable[[AssessmentRecord], str]] = {
    "ends": ends_chart,
    "curve": curve_chart,
    "confidence": lambda record: confidence_chart(record.confidence),  # type: ignore[arg-type]
}


def texts(element: str) -> list[str]:
    root = ElementTree.fromstring(element)  # noqa: S314 - our own output
    return [node.text or "" for node in root.iter() if node.tag.endswith("}text")]


def title(element: str) -> str:
    return ElementTree.fromstring(element)[0].text or ""  # noqa: S314


def points(*pairs_and_gains: tuple[int, float]) -> list[CurvePoint]:
    return [CurvePoint(pairs=pairs, gain=around(gain)) for pairs, gain in pairs_and_gains]


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
@pytest.mark.parametrize("verdict", make_verdicts())
def test_every_chart_is_valid_xml_with_a_spoken_title(chart: Callable[..., str], verdict: str) -> None:
    root = ElementTree.fromstring(chart(make_verdicts()[verdict]))  # noqa: S314
    assert root.attrib["role"] == "img"
    assert re.search(r"[+-]?\.\d{3}", root[0].text or "")


def test_ids_are_unique_across_the_charts_of_a_page() -> None:
    ids = re.findall(r'\bid="([^"]+)"', "".join(chart(make_assessment()) for chart in CHARTS.values()))
    assert len(ids) > 30
    assert len(ids) == len(set(ids))


def test_the_bars_are_named_and_numbered() -> None:
    assert {"old", "ridge", "re-embedding", ".450", ".512", ".570"} <= set(texts(ends_chart(make_assessment())))
    assert {"fused-ridge", ".531"} <= set(texts(ends_chart(make_verdicts()["fuse"])))
    assert title(ends_chart(make_verdicts()["stay"])).endswith("old .560, ridge .512, re-embedding .570")


def test_what_was_not_measured_leaves_the_charts_standing() -> None:
    nothing = make_assessment("", old=UNKNOWN, upgraded=UNKNOWN, best="", backfill=UNKNOWN, learning_curve=[])
    assert {"old", "upgraded", "re-embedding", "-"} <= set(texts(ends_chart(nothing)))
    assert "<svg" in curve_chart(nothing)
    lost = Confidence(
        rank_correlation=math.nan, ratios=(0.0, 1.0), predicted_first=(math.nan, 0.5), random=(math.nan, 0.5)
    )
    assert "100% .500 against .500" in title(confidence_chart(lost))


def test_a_point_without_a_gain_is_left_out_and_the_rest_are_in_order() -> None:
    curve = [*points((2000, 0.03), (500, 0.01)), CurvePoint(pairs=1000, gain=UNKNOWN)]
    assert [point.pairs for point in measured_points(curve)] == [500, 2000]
    told = title(curve_chart(make_assessment(learning_curve=curve)))
    assert told == "Gain of mAP by the number of pairs: 500 pairs +.010, 2,000 pairs +.030"


def test_the_pace_is_that_of_the_last_two_points_for_one_doubling() -> None:
    assert per_doubling(points((250, -0.5), (500, 0.01), (2000, 0.03))) == pytest.approx(0.01)
    assert per_doubling(points((1000, 0.05), (2000, 0.04))) == pytest.approx(-0.01)
    assert per_doubling(points((1000, 0.05))) is None
    assert per_doubling([]) is None


def test_many_sizes_are_labelled_without_touching_and_large_ones_shortly() -> None:
    curve = points(*((1000 * 2**step, 0.01 * step) for step in range(12)))
    found = texts(curve_chart(make_assessment(learning_curve=curve)))
    assert "2.05M" in found
    assert "1.02M" not in found
    assert {"512k", "2,000"} <= set(found)
    single = texts(curve_chart(make_assessment(learning_curve=points((1000, 0.01)))))
    assert "1,000" in single
