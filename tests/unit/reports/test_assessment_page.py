from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.reports.assessment_sample import UNKNOWN, around, make_assessment, make_verdicts
from tests.unit.reports.test_page import Page

from bict.reports.advice import HEADLINES
from bict.reports.assessment import Candidate, Confidence, CurvePoint, Gate, Preflight
from bict.reports.assessment_page import render_assessment, write_assessment_page


@pytest.fixture(scope="module")
def text() -> str:
    return render_assessment(make_assessment(warnings=["13 old ids have no partner"]))


def told(**changes: Any) -> str:
    fields: dict[str, Any] = {"learning_curve": [], "confidence": None}  # fewer figures to draw
    return Page(render_assessment(make_assessment(**(fields | changes)))).text


def test_the_page_tells_verdict_numbers_and_next_commands_first(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert len(page.all("h1")) == 1
    places = [
        page.text.index(words)
        for words in (
            "Upgrade the gallery with ridge",
            "lifts mAP from .450 to .512",
            "the gain of ridge is above zero",
            "negative flip rate .050 .041 ✓ holds",
            "bict fit --old old.parquet --new new.parquet --out psi",
            "bict upgrade GALLERY psi",
            "13 old ids have no partner",
            "Every way to serve",
            "How this was made",
        )
    ]
    assert places == sorted(places)


def test_every_number_of_the_record_is_on_the_page(text: str) -> None:
    found = Page(text).text
    for words in ("52 %", "44 to 60 %", "4.1 %", "3.5 to 4.7 %", "+.044 to +.080", "tea cups -.034", "fused-ridge"):
        assert words in found
    for words in (".834", "2,000 pairs", ".270", "0.012 %", "0.00049 %", "76.3 %", "+.460", "1 min 14 s", "aaaaaaaa"):
        assert words in found
    assert "gates.max_flips 0.05" in found
    assert "old without partner 13" in found


@pytest.mark.parametrize("verdict", HEADLINES)
def test_every_verdict_renders_with_its_colour(verdict: str) -> None:
    page = Page(render_assessment(make_verdicts()[verdict]))
    assert page.open == []
    assert HEADLINES[verdict] in page.text  # type: ignore[index]
    tone = "keep" if verdict in ("stay", "re-embed") else "upgrade"
    assert page.all("header")[0]["class"] == f"verdict {tone}"


def test_a_bound_that_does_not_hold_takes_the_green_away() -> None:
    gates = [Gate(name="recovered_share", bound=0.6, found=math.nan, passed=False)]
    page = Page(render_assessment(make_assessment(gates=gates)))
    assert page.all("header")[0]["class"] == "verdict unclear"
    assert "But a bound you set does not hold: recovered share" in page.text
    assert "recovered share .600 - ✕ fails" in page.text
    assert page.text.index("Once every bound holds") < page.text.index("bict fit --old")


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(text: str) -> None:
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not {"script", "link", "iframe", "object", "embed", "base", "img"} & {tag for tag, _ in page.tags}
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_tables_sections_and_figures_are_told_to_a_screen_reader(text: str) -> None:
    page = Page(text)
    assert {header.get("scope") for header in page.all("th")} == {"row", "col"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert name not in attributes or attributes[name] in ids
    labelled = {section["aria-labelledby"] for section in page.all("section")}
    assert labelled == {heading["id"] for heading in page.all("h2")}
    assert len([figure for figure in page.all("svg") if figure.get("role") == "img"]) == 3


def test_hostile_words_are_escaped() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    record = make_assessment(
        learning_curve=[],
        confidence=None,
        command=hostile,
        reasons=[hostile],
        warnings=[hostile],
        gates=[Gate(name=hostile, bound=0.1, found=0.2, passed=False)],
        counts={hostile: 1},
        versions={hostile: hostile},
        timing={hostile: 1.0},
        config={"old": hostile, "new": hostile, hostile: [hostile]},
    )
    rungs = [
        rung.model_copy(update={"name": hostile, "worst_group": hostile, "note": hostile}) for rung in record.rungs
    ]
    page = Page(render_assessment(record.model_copy(update={"chosen": hostile, "rungs": rungs})))
    assert not page.all("script")
    assert page.open == []
    assert page.text.count(hostile) > 20


def test_nothing_measured_renders_dashes_and_no_empty_figures() -> None:
    names = ("old", "upgraded", "backfill", "recovered_share", "negative_flip_rate")
    bare = [
        Candidate(name="ridge", kind="upgrade", choice=math.nan, map=UNKNOWN),
        Candidate(name="mlp", kind="upgrade", choice=0.3),
    ]
    page = Page(
        render_assessment(
            make_assessment(
                **dict.fromkeys(names, UNKNOWN),
                verdict="stay",
                rungs=bare,
                learning_curve=[CurvePoint(pairs=10, gain=UNKNOWN)],
                preflight=Preflight(agreement=math.nan, pairs=0),
                threshold=None,
                confidence=None,
                gates=[],
                reasons=[],
            )
        )
    )
    assert page.open == []
    assert len(page.all("svg")) == 1
    assert "nan" not in page.text.lower().replace("instance", "")
    for heading in ("What more would bring", "The match threshold", "Warnings"):
        assert heading not in page.text
    assert "mAP was not measured" in page.text
    assert "mlp rewrites the gallery not judged" in page.text


def test_a_skipped_candidate_says_why_in_place_of_numbers(text: str) -> None:
    assert "head rewrites the gallery skipped: fewer than two items a label" in Page(text).text
    assert Page(text).text.count("skipped: ") == 1


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("labels", "both have the same label"),
        ("relevance pairs", "your file of relevant pairs says so"),
        ("new model's neighbours", "re-embedding reaches 1 by construction"),
    ],
)
def test_the_page_says_what_was_measured_against(measure: str, words: str) -> None:
    found = told(measure=measure)
    assert words in found
    assert ("is taken for granted here, not measured" in found) == (measure == "new model's neighbours")


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ((0.01, 0.03), "2,000 pairs would bring about +.020 more"),
        ((0.03, 0.03), "More pairs of this kind would bring nothing"),
        ((0.03,), "Measured at one number of pairs only"),
    ],
)
def test_more_pairs_bring_what_the_last_doubling_brought(gains: tuple[float, ...], words: str) -> None:
    curve = [CurvePoint(pairs=500 * 2**step, gain=around(gain)) for step, gain in enumerate(gains)]
    assert words in told(learning_curve=curve)


@pytest.mark.parametrize(
    ("ratios", "first", "words"),
    [
        ((0.0, 0.3, 0.9, 1.0), (0.5, 0.55, 0.6, 0.6), "With 30 % of the gallery re-embedded"),
        ((0.0, 0.3, 0.9, 1.0), (0.5, 0.55, 0.6, 0.6), "mAP is .550; in random order .520."),
        ((0.0, 0.5, 0.9, 1.0), (0.5, 0.52, 0.6, 0.6), "in random order .520. That is no better."),
        ((0.0, 0.5, 0.9, 1.0), (0.5, math.nan, 0.6, 0.6), "were not measured"),
    ],
)
def test_the_order_is_judged_near_a_quarter_of_the_gallery(
    ratios: tuple[float, ...], first: tuple[float, ...], words: str
) -> None:
    confidence = Confidence(rank_correlation=0.3, ratios=ratios, predicted_first=first, random=(0.5, 0.52, 0.58, 0.6))
    assert words in told(confidence=confidence)


def test_without_a_threshold_the_page_asks_for_one_where_scores_move() -> None:
    found = told(threshold=None)
    assert "move by .270" in found
    assert "a fixed match threshold has to be carried over" in found
    assert "threshold left" not in found


def test_the_written_page_is_the_rendered_one(tmp_path: Path) -> None:
    record = make_assessment()
    path = write_assessment_page(record, tmp_path / "out" / "report.html")
    assert path.read_text(encoding="utf-8") == render_assessment(record)
