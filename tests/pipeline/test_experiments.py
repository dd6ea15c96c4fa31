"""Every method and every scenario of the bench, on a few glyphs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.pipeline.conftest import run

from bict.experiments.methods import METHODS, expand
from bict.experiments.scenarios import SCENARIOS
from bict.reports.bench_markdown import sections
from bict.reports.bench_table import load_bench_records

CLASSES = "16"
OTHERS = [name for name in SCENARIOS if name not in ("extended-class", "sequential")]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments")


def experiment(out: Path, scenario: str, methods: str, *more: str) -> int:
    words = ("--methods", methods, "--quick", "--classes", CLASSES, "--out", str(out), *more)
    return run("experiment", "run", scenario, *words)


def test_every_method_runs_and_says_what_it_measured(out, capsys):
    assert experiment(out, "extended-class", "main,ablation,influence@0,influence@1", "--json") == 0
    records = {record["method"]: record for record in json.loads(capsys.readouterr().out)}
    assert set(records) == {*METHODS, "influence@0", "influence@1"}
    for name, record in records.items():
        rows = {row["name"]: row["map"] for row in record["rows"]}
        assert {"old", "free_backfill"} < set(rows), name
        assert all(0 < value <= 1 for value in rows.values()), name
        assert record["schema"] == 1
        assert (record["scenario"], record["data"], record["seed"]) == ("extended-class", "glyphs-16", 0)
    alike = {
        name: {row["name"]: row["map"] for row in records[name]["rows"]} for name in ("influence", "ridge", "slerp")
    }
    assert len({rows["old"] for rows in alike.values()}) == 1
    assert len({rows["free_backfill"] for rows in alike.values()}) == 1
    assert records["influence@0"]["metrics"]["compatibility_tax"] == 0


def test_what_is_done_is_not_done_again_and_one_method_more_costs_only_itself(out, capsys):
    if not (out / "models").exists():
        experiment(out, "extended-class", "influence,ridge")
    before = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("model.json")}
    assert experiment(out, "extended-class", "influence,ridge,influence@2", "--json") == 0
    after = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("model.json")}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    capsys.readouterr()


@pytest.mark.parametrize("scenario", OTHERS)
def test_every_scenario_runs(out, scenario, capsys):
    assert experiment(out, scenario, "influence,ridge", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["method"] for record in records] == ["influence", "ridge"]
    assert all(record["metrics"]["recovered_share"] is not None or record["reasons"] for record in records)


def test_the_chain_runs_and_its_states_agree_where_nothing_was_upgraded_yet(out, capsys):
    assert experiment(out, "sequential", "influence", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row["map"] for row in record["rows"]}
    assert len(rows) == 2 * 4 * 4
    for state in ("composed", "refitted", "backfill"):
        assert rows[f"once {state} 1"] == rows["once fixed 1"]
    assert rows["once composed 2"] == rows["once refitted 2"]
    assert 0 <= record["metrics"]["average_compatibility"] <= 1


def test_the_page_and_the_table_are_made_from_the_records(out, capsys):
    experiment(out, "extended-class", "influence,ridge")
    assert run("experiment", "report", out) == 0
    assert "report.html" in capsys.readouterr().out
    assert "influence" in (out / "report.html").read_text()
    assert any("| `ridge` |" in one.text for one in sections(load_bench_records(out / "quick")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("extended-clas",), "unknown scenario 'extended-clas': did you mean 'extended-class'"),
        (("extended-class", "--methods", "infl"), "unknown method or group 'infl'"),
        (("extended-class", "--methods", "ridge@1"), "expected NAME@WEIGHT"),
        (("extended-class", "--seeds", "one"), "found --seeds 'one'"),
        (("extended-class", "--classes", "3"), "found --classes 3, expected at least 8"),
        (("sequential", "--methods", "ridge", "--classes", "8", "--quick"), "compares backward methods"),
        (("extended-class", "--data", "nowhere"), "unknown data set"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(words, message, tmp_path, capsys):
    assert run("experiment", "run", *words, "--out", tmp_path / "x") in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_the_list_names_every_method_and_scenario(capsys):
    assert run("experiment", "list", "--json") == 0
    known = json.loads(capsys.readouterr().out)
    assert set(known["scenarios"]) == set(SCENARIOS)
    assert set(known["methods"]) == set(METHODS)
    assert known["groups"]["main"] == expand(["main"])
