"""README and docs say what is there: commands, options, files, figures."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from bict.cli.main import COMMANDS, build_app
from bict.experiments.experiment import DEFAULT_METHODS
from bict.losses import BACKWARD_LOSSES, CLASSIFICATION_LOSSES
from bict.models import BACKBONES, POOLINGS
from bict.training import TrainSettings
from bict.transforms import RUNGS
from bict.workflow.train import train

ROOT = Path(__file__).parents[2]
ENDS = ("old", "backfill", "old-head")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def commands(page: Path) -> list[list[str]]:
    """Every `bict ...` line of the page's code blocks, without comments."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("bict ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_exist_with_their_options(page: Path) -> None:
    for words in commands(page):
        assert words[0] in COMMANDS
        command = typer.main.get_command(build_app(words)).commands[words[0]]
        command = command.commands[words[1]] if hasattr(command, "commands") else command
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
    for script in re.findall(r"python ((?:benchmarks|examples)/\S+\.py)", page.read_text()):
        assert (ROOT / script).exists(), script
    for target in re.findall(r"^make (\S+)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_every_method_has_its_entry() -> None:
    methods = (ROOT / "docs" / "methods.md").read_text()
    for name in (*BACKWARD_LOSSES, *CLASSIFICATION_LOSSES, *RUNGS, *BACKBONES, *POOLINGS):
        assert f"`{name}`" in methods, name


def test_the_omniglot_table_is_the_committed_record() -> None:
    record = json.loads((ROOT / "benchmarks" / "records" / "omniglot_extended_class.json").read_text())
    text = (ROOT / "docs" / "results.md").read_text()
    for row in record["summary"]["rows"]:
        assert f"{row['map']['mean']:.3f} ± {row['map']['sd']:.3f}" in text, row["name"]
    for key in ("recovered_share", "compatibility_tax"):
        assert f"{record['summary']['figures'][key]['mean']:.3f}" in text, key


def test_what_operations_says_was_tried_is_in_the_records() -> None:
    text = (ROOT / "docs" / "operations.md").read_text().partition("## What was tried")[2]
    records = ROOT / "benchmarks" / "records"
    for path in sorted(records.glob("chaos_*.json")):
        record = json.loads(path.read_text())
        assert path.name in text
        for name in ("kills", "searches", "rows_lost", "rows_wrong", "payload_changed", "searches_failed"):
            row = next(line for line in text.splitlines() if line.startswith("|") and name.replace("_", " ") in line)
            assert f" {record[name]:,} " in row, (path.name, name)
    staging = json.loads((records / "pgvector_staging.json").read_text())
    assert f"{staging['rows_per_second']['stage by unit']:,.0f}" in text


def test_what_scale_says_is_in_the_records() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    assert not re.findall(r"@[A-Z]+@", text)
    records = {path.stem: json.loads(path.read_text()) for path in (ROOT / "benchmarks" / "records").glob("*.json")}
    for result in records["upgrade_throughput"]["results"]:
        assert f" {result['staging_rows_per_second']:,.0f} |" in text
        assert f" {result['staging_share_of_slowest_stage']:.0%} |" in text
        assert f" {result['forecast_over_measured']['stage']:.2f} |" in text
    for result in records["cluster_model"]["results"]:
        assert f" {result['simulated_seconds'] / 3600:.2f} | {result['ratio']:.2f} |" in text
    for result in records["fit_scale"]["results"]:
        assert f" {result['fit']['peak_megabytes']:,.0f} |" in text
    ranking = records["ranking_speed"]
    for name in ("pytorch-metric-learning", "torchmetrics"):
        assert f"{ranking['beside']['ratios'][name]:.1f} times as fast as {name}" in " ".join(text.split())
    assert f"{ranking['large']['peak_mib']:,.0f} MiB beyond the vectors" in " ".join(text.split())
    for result in records["training_speed"]["results"]:
        assert f"| {result['backbone']} | {result['ratio']:.3f} |" in text


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_recipes_hold_only_settings_that_exist(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    options = {parameter.replace("-", "_") for parameter in content}
    assert options <= {*TrainSettings.model_fields, *inspect.signature(train).parameters}
    TrainSettings.model_validate(
        {
            name.replace("-", "_"): value
            for name, value in content.items()
            if name.replace("-", "_") in TrainSettings.model_fields
        }
    )


def test_the_tables_of_the_bench_are_those_of_the_records() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "results_page.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def test_the_headline_of_the_readme_is_in_the_records() -> None:
    text = (ROOT / "README.md").read_text()
    folder = ROOT / "results" / "omniglot" / "extended-class"
    joint, free, plain = (
        [json.loads((folder / f"{name}-{seed}.json").read_text()) for seed in range(3)]
        for name in ("joint", "mlp", "influence")
    )
    shown = ("old", "backward", "upgraded", "fused", "backfill", "free_backfill")
    for records, names in ((joint, shown), (free, ("upgraded",))):
        for name in names:
            rows = [next(row for row in record["rows"] if row["name"] == name) for record in records]
            cells = [spread([row[key] for row in rows]) for key in ("map", "recall@1", "recall@10")]
            assert " | ".join(cells) in text.replace("**", ""), name
    own = ("recovered_share", "fused_share", "negative_flip_rate", "positive_flip_rate")
    said = [(joint, name) for name in own] + [(free, "recovered_share"), (plain, "recovered_share")]
    for records, name in said:
        assert spread([record["metrics"][name] for record in records]) in text, name
    assert f"by {spread([-record['metrics']['compatibility_tax'] for record in joint])}" in text


def test_what_a_scenario_takes_is_in_the_records() -> None:
    folder = ROOT / "results" / "omniglot" / "extended-class"
    records = [json.loads((folder / f"{name}-1.json").read_text()) for name in DEFAULT_METHODS]
    minutes = sum(record["seconds"] for record in records) / 60
    assert minutes < 30
    assert f"took {minutes:.1f} minutes for one seed at full size" in " ".join(
        (ROOT / "docs" / "results.md").read_text().split()
    )


def test_every_record_of_the_bench_names_its_command_and_no_place() -> None:
    for path in sorted((ROOT / "results").rglob("*.json")):
        record = json.loads(path.read_text())
        assert record["command"].startswith("bict experiment run"), path
        assert path.stem == f"{record['method']}-{record['seed']}"
        assert not record["quick"]


def test_the_cases_of_the_assessment_are_those_of_the_record() -> None:
    page = (ROOT / "docs" / "assess.md").read_text()
    cases = json.loads((ROOT / "benchmarks" / "records" / "assess_cases.json").read_text())["cases"]
    assert len(cases) == 42
    assert all(case["correct"] for case in cases)
    for name in {case["case"] for case in cases}:
        some = [case for case in cases if case["case"] == name]
        ways = [max(row["map"] for way, row in case["rows"].items() if way not in ENDS) for case in some]
        means = (
            statistics.mean(case["rows"]["old"]["map"] for case in some),
            statistics.mean(ways),
            statistics.mean(case["rows"]["backfill"]["map"] for case in some),
            statistics.mean(case["agreement"] for case in some),
        )
        assert " | ".join(f"{value:.3f}" for value in means) in page.partition(f"| {name} |")[2].partition("\n")[0], (
            name
        )
    peer = json.loads((ROOT / "benchmarks" / "records" / "assess_peer.json").read_text())
    summary = peer["summary"]
    assert summary["cases"] == summary["bict_correct"] == 28
    warned = summary["gate"]["WARN"]
    assert f"WARN {warned['cases']} times" in page
    assert f"of the {warned['cases']} an upgrade is right in {warned['upgrade_is_right']}" in page


def test_the_photos_of_the_assessment_page_are_those_of_the_record() -> None:
    page = (
        (ROOT / "docs" / "assess.md").read_text().partition("### The same on photos")[2].partition("## The verdict")[0]
    )
    record = json.loads((ROOT / "benchmarks" / "records" / "assess_photos.json").read_text())
    found, ways = record["assessment"], {way["name"]: way for way in record["assessment"]["rungs"]}
    assert found["verdict"] == "upgrade"
    chosen = ways[found["chosen"]]
    values = [found["old"]["value"], found["upgraded"]["value"], found["backfill"]["value"]]
    values += [*chosen["gain"]["interval"], chosen["gain"]["value"], record["before"]["map"], record["after"]["map"]]
    values += [ways[name]["recall_at_1"]["value"] for name in ("old", found["chosen"], f"fused-{found['chosen']}")]
    for value in values:
        assert f"{value:.3f}"[1:] in page, value
    assert f"{found['recovered_share']['value']:.0%}".replace("%", " %") in page
    for command in record["commands"][1:]:
        assert command in page
