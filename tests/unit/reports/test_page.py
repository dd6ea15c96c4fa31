from __future__ import annotations

import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bict.reports.page import flatten, render_report, write_report
from bict.reports.record import Privacy, ResultRecord
from bict.reports.strips import Strip

Make = Callable[..., ResultRecord]
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes, and whether every one was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(record: ResultRecord, strips: list[Strip]) -> str:
    return render_report(record, strips)


def test_the_page_is_well_formed_and_tells_the_answer_first(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert page.tags[0][0] == "html"
    assert len(page.all("h1")) == 1
    assert page.text.index("Upgrade the gallery") < page.text.index("lifts mAP from .450 to .500")
    for words in ("50 %", ".490-.510", "-.020", "4.1 %", "bict demo", "old.width", "[1, 2]", "11,862", "1 min 14 s"):
        assert words in page.text
    assert "It does not mean that vectors are anonymous" in page.text


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(text: str) -> None:
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_tables_and_images_are_told_to_a_screen_reader(text: str) -> None:
    page = Page(text)
    assert {header.get("scope") for header in page.all("th")} == {"row", "col"}
    images = page.all("img")
    assert len(images) == 1 + 4 * 8
    assert all(image["alt"] for image in images)
    assert "class 1, wrong" in {image["alt"] for image in images}
    labelled = {section["aria-labelledby"] for section in page.all("section")}
    assert labelled == {heading["id"] for heading in page.all("h2")}


def test_ids_are_unique(text: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_right_and_wrong_differ_by_a_mark_too(text: str) -> None:
    hits = re.findall(r'<li class="hit (right|wrong)".*?aria-hidden="true">(.)</i></li>', text)
    assert set(hits) == {("right", "✓"), ("wrong", "✕")}
    assert "solid" in text
    assert "dashed" in text


def test_hostile_words_are_escaped(make_record: Make, strips: list[Strip]) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    hit = strips[0].rows["old"][0].model_copy(update={"label": hostile})
    strip = strips[0].model_copy(update={"label": hostile, "why": hostile, "rows": {"old": [hit]}})
    record = make_record(
        command=hostile,
        timing={hostile: 1.0},
        versions={hostile: hostile},
        config={hostile: hostile},
        counts={hostile: 1},
        privacy=Privacy(files_opened=[hostile], refused=0),
    )
    record = record.model_copy(update={"training": {hostile: record.training["old"]}})
    page = Page(render_report(record, [strip]))
    assert not page.all("script")
    assert page.open == []
    assert hostile in {image["alt"].split(", ")[0] for image in page.all("img")[1:]}


def test_a_quick_run_without_strips_renders(quick: ResultRecord) -> None:
    page = Page(render_report(quick))
    assert page.open == []
    assert "What queries find" not in page.text
    assert "Compatibility tax: undefined: no free new model was trained" in page.text
    assert "own backfill stands in as the reference" in page.text


@pytest.mark.parametrize(
    ("privacy", "told"),
    [
        (Privacy(files_opened=["a", "b"], refused=0), "No attempt to open anything outside"),
        (Privacy(files_opened=["a", "b"], refused=3), "3 attempts to open something outside"),
        (None, "did not record which files"),
    ],
)
def test_the_privacy_statement_follows_what_was_opened(make_record: Make, privacy: Privacy | None, told: str) -> None:
    text = Page(render_report(make_record(quick=True, privacy=privacy))).text
    assert told in text
    assert ("The upgrade opened 2 files" in text) == (privacy is not None)
    assert ("was refused 3 times" in text) == (privacy is not None and privacy.refused == 3)


@pytest.mark.parametrize("scores", [{"upgraded": 0.4, "backward": 0.4}, {"upgraded": math.nan}])
def test_a_run_without_a_gain_does_not_advise_an_upgrade(make_record: Make, scores: dict[str, float]) -> None:
    page = Page(render_report(make_record(quick=True, scores=scores)))
    assert "Upgrade the gallery" not in page.text
    assert page.all("header")[0]["class"] in ("verdict keep", "verdict unclear")


def test_the_written_page_is_the_rendered_one(
    tmp_path: Path, record: ResultRecord, strips: list[Strip], text: str
) -> None:
    path = write_report(record, strips, tmp_path / "out" / "report.html")
    assert path.read_text(encoding="utf-8") == text


def test_flatten_keeps_order_and_empty_groups() -> None:
    config = {"b": {"d": 1, "c": {"e": None}}, "a": "text", "empty": {}, "list": [1, {"x": 2}]}
    assert flatten(config) == [
        ("b.d", "1"),
        ("b.c.e", "null"),
        ("a", "text"),
        ("empty", "{}"),
        ("list", '[1, {"x": 2}]'),
    ]
