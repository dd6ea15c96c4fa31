from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from bict.reports.figures import ladder_chart, loss_chart, rows_chart, timing_chart
from bict.reports.record import Epoch, Ladder, ResultRecord, Rung

Make = Callable[..., ResultRecord]
CHARTS: dict[str, Callable[[ResultRecord], str]] = {
    "rows": rows_chart,
    "ladder": lambda record: ladder_chart(record.ladder),
    "losses": loss_chart,
    "timing": timing_chart,
}


def texts(element: str) -> list[str]:
    root = ElementTree.fromstring(element)  # noqa: S314 - our own output
    return [node.text or "" for node in root.iter() if node.tag.endswith("}text")]


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
@pytest.mark.parametrize("quick", [False, True])
def test_every_chart_is_valid_xml_with_a_spoken_title(
    chart: Callable[..., str], make_record: Make, quick: bool
) -> None:
    root = ElementTree.fromstring(chart(make_record(quick=quick)))  # noqa: S314
    assert root.tag.endswith("svg")
    assert root.attrib["role"] == "img"
    assert len(root[0].text or "") > 20


def test_ids_are_unique_across_the_charts_of_a_page(record: ResultRecord) -> None:
    page = "".join([*(chart(record) for chart in CHARTS.values()), ladder_chart(record.ladder, "free_ladder")])
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) > 50
    assert len(ids) == len(set(ids))


def test_the_bars_are_labelled_with_names_and_scores(record: ResultRecord, quick: ResultRecord) -> None:
    found = texts(rows_chart(record))
    assert {"old", "upgraded", "free backfill", ".450", ".500", ".550"} <= set(found)
    assert "free backfill" not in texts(rows_chart(quick))
    assert any("dotted: backfill" in text for text in texts(rows_chart(quick)))


def test_the_chosen_rung_is_marked(record: ResultRecord) -> None:
    assert {"identity", "ridge (chosen)", ".410", ".520"} <= set(texts(ladder_chart(record.ladder)))


def test_the_backward_term_is_drawn_only_where_there_is_one(make_record: Make) -> None:
    assert "backward" not in texts(loss_chart(make_record()))
    epochs = [Epoch(epoch=1, loss=1.5, classification=-0.5, backward=1.0, seconds=1.0)]
    found = texts(loss_chart(make_record(training={"new": epochs})))
    assert {"new", "loss", "classification", "backward"} <= set(found)


def test_what_was_not_measured_leaves_the_chart_standing(make_record: Make) -> None:
    lost = {"old": math.nan, "backward": math.nan, "upgraded": math.nan}
    assert ".550" in texts(rows_chart(make_record(scores=lost)))
    rung = Rung(name="mlp", map=math.nan, map_interval=(math.nan, math.nan), seconds=math.nan, note="did not fit")
    assert "mlp" in texts(ladder_chart(Ladder(chosen="none", pairs=0, views=1, held_out_classes=1, rungs=[rung])))
    assert "<svg" in loss_chart(make_record(training={}))
    assert "<svg" in timing_chart(make_record(timing={"x": math.nan}))


def test_drawing_needs_no_pyplot() -> None:
    code = "import sys, bict.reports; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
