from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.reports.assessment_sample import SCORES, UNKNOWN, make_assessment, make_verdicts

from bict.cli.show_assessment import assess
from bict.reports.advice import HEADLINES
from bict.reports.assessment import AssessmentRecord, Candidate, Gate


@dataclass(frozen=True)
class Assessed:
    record: AssessmentRecord
    page: Path | None = None


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def printed(capsys: pytest.CaptureFixture[str], record: AssessmentRecord, page: Path | None = None) -> str:
    assess(Assessed(record, page), as_json=False)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("verdict", HEADLINES)
def test_the_verdict_is_first_and_the_commands_are_last(capsys: pytest.CaptureFixture[str], verdict: str) -> None:
    text = printed(capsys, make_verdicts()[verdict], Path("out/report.html"))
    assert text.startswith(HEADLINES[verdict])  # type: ignore[index]
    assert text.splitlines()[-1] == "page     out/report.html"
    assert ("bict fit --old old.parquet --new new.parquet --out psi" in text) == (
        verdict in ("upgrade", "bridge", "fuse")
    )
    assert max(map(len, text.splitlines())) <= 95  # commands are never broken


def test_the_table_fits_80_columns_and_holds_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, make_assessment(warnings=["13 old ids have no partner"]))
    assert max(map(len, text.splitlines())) <= 80
    row = next(line for line in text.splitlines() if line.startswith("ridge"))
    assert " ".join(row.split()) == "ridge .512 .502-.522 +.062 +.044 to +.080 52 % .712 4.1 %"
    assert "skipped  head: fewer than two items a label" in text
    assert "negative flip rate  .050   .041  ok" in text
    assert "warning  13 old ids have no partner" in text
    assert "why      the gain of ridge" in text
    assert "page" not in text


def test_long_names_and_extreme_shares_still_fit_without_losing_letters(capsys: pytest.CaptureFixture[str]) -> None:
    name = "fused-lambda-orthogonal"
    scores = {**SCORES, name: ("fuse", 0.02), "backfill": ("backfill", 0.46)}
    text = printed(capsys, make_assessment(scores=scores))  # type: ignore[arg-type]
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    start = text[text.index("fused-lam") :].splitlines()
    assert start[0].split()[0] + start[1].strip() == name
    assert "-4300 %" in text


def test_a_failed_bound_is_told_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    gates = [Gate(name="recovered_share", bound=0.6, found=math.nan, passed=False)]
    text = printed(capsys, make_assessment(gates=gates))
    assert "But a bound you set does not hold: recovered share." in text
    assert "FAILED" in text


def test_nothing_measured_prints_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    bare = Candidate(name="ridge", kind="upgrade", choice=math.nan, map=UNKNOWN)
    text = printed(capsys, make_assessment(old=UNKNOWN, upgraded=UNKNOWN, rungs=[bare], gates=[], reasons=[]))
    row = next(line for line in text.splitlines() if line.startswith("ridge"))
    assert row.split() == ["ridge", *"-" * 7]
    assert "nan" not in text
    assert "why" not in text


def test_names_paths_and_sentences_are_never_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "see [red]rows[/red] [/]"
    record = make_assessment(reasons=[hostile], warnings=[hostile], config={"old": hostile, "new": hostile})
    record = record.model_copy(
        update={"rungs": [*record.rungs, Candidate(name="x", kind="upgrade", choice=0, note=hostile)]}
    )
    assert printed(capsys, record, Path(hostile)).count(hostile) == 6


def test_json_is_the_record_by_its_aliases(capsys: pytest.CaptureFixture[str]) -> None:
    record = make_assessment(old=UNKNOWN)
    assess(Assessed(record, Path("report.html")), as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == 1
    assert content["old"] == {"value": None, "interval": [None, None]}
    assert AssessmentRecord.model_validate(content).chosen == "ridge"
