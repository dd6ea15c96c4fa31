from __future__ import annotations

from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

from bict.reports.svg import COLOURS, draw


def paint(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=COLOURS["upgraded"], marker="o")
    axes.set_title("a $b$ <script>")


def test_text_stays_text_and_colours_follow_the_page() -> None:
    element = draw("one", 'A & "B"', (300, 200), paint)
    root = ElementTree.fromstring(element)  # noqa: S314 - our own output
    assert root.attrib["viewBox"] == "0 0 300 200"
    assert root[0].text == 'A & "B"'
    assert "a $b$ &lt;script&gt;" in element
    assert f"stroke: var(--chart-upgraded, {COLOURS['upgraded']})" in element
    assert "DejaVu" not in element
    assert "<style" not in element


def test_every_reference_points_to_an_id_of_the_same_figure() -> None:
    root = ElementTree.fromstring(draw("one", "t", (300, 200), paint))  # noqa: S314
    ids = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    used = [value[1:] for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
    clips = [node.attrib["clip-path"][5:-1] for node in root.iter() if "clip-path" in node.attrib]
    assert used
    assert clips
    assert len(ids) == len(set(ids))
    assert {*used, *clips} <= set(ids)
    assert all(name.startswith("one-") for name in ids)


def test_the_same_figure_is_the_same_text_and_settings_are_left_alone() -> None:
    before = dict(mpl.rcParams)
    assert draw("one", "t", (300, 200), paint) == draw("one", "t", (300, 200), paint)
    assert dict(mpl.rcParams) == before
