"""`bict experiment`: methods in scenarios, on the same data and protocol."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bict.data import ImageSet, load_images
from bict.errors import DataError, SettingsError
from bict.experiments.bench import require_fitting, run_method
from bict.experiments.methods import GROUPS, METHODS, expand
from bict.experiments.scenarios import SCENARIOS, find_scenario
from bict.progress import Steps, silent_steps
from bict.reports.bench import BenchRecord
from bict.reports.bench_page import write_bench_report
from bict.reports.bench_table import load_bench_records

DEFAULT_METHODS = ("joint", "influence", "regression", "contrastive", "mlp", "ridge", "slerp", "rank-merge")
QUICK_METHODS = ("joint", "mlp", "slerp")
QUICK_CLASSES = 200
LEAST_CLASSES = 8


@dataclass(frozen=True)
class Known:
    """Scenarios, methods and groups of methods there are, each with a line about it."""

    scenarios: dict[str, str]
    methods: dict[str, str]
    groups: dict[str, list[str]]


@dataclass(frozen=True)
class Ran:
    """What methods gave, and the directory of which `bict experiment report` makes a page."""

    records: list[BenchRecord]
    directory: Path


def list_() -> Known:
    """Show the scenarios and methods there are."""
    return Known(
        scenarios={name: scenario.line for name, scenario in SCENARIOS.items()},
        methods={name: method.line for name, method in METHODS.items()},
        groups={name: expand([name]) for name in GROUPS},
    )


def run(
    scenario: str,
    *,
    methods: str = "",
    seeds: str = "0",
    data: str = "glyphs",
    data_root: Path | None = None,
    out: Path = Path("runs/experiments"),
    classes: int = 0,
    quick: bool = False,
    strict: bool = False,
    steps: Steps = silent_steps,
) -> Ran:
    """Run methods in one scenario, each from training to evaluation, on the same splits.

    Models, vectors and transforms are kept and shared, so one more method costs only what it needs itself; what is
    done already is read, and a killed run goes on.

    Args:
        scenario: one of `bict experiment list`.
        methods: names or groups with commas between; NAME@WEIGHT sets a backward method's weight.
        seeds: whole numbers with commas between.
        data: glyphs, omniglot, or the path of a folder or manifest.
        data_root: folder in which the data lies.
        out: directory for models and records.
        classes: use only so many classes; 0 for all.
        quick: few epochs and classes, to try it out.
        strict: stop at the first unreadable image instead of leaving it out.
        steps: called with each step's name; gives the context it runs in and its progress.

    Raises:
        BictError: the names, the data or the directory cannot be used, or a step refused.
    """
    find_scenario(scenario)
    wanted = expand(_words(methods)) or _defaults(scenario, quick)
    for name in wanted:
        require_fitting(name, scenario)
    numbers = _numbers(seeds)
    with steps("prepare images") as progress:
        images = load_images(data, root=data_root, strict=strict, progress=progress)
    images = some_classes(images, classes or (QUICK_CLASSES if quick else 0))
    command = _command(scenario, methods, seeds, data, classes, quick)
    records = [
        run_method(name, scenario, images, Path(out), seed=seed, quick=quick, steps=steps, command=command)
        for seed in numbers
        for name in wanted
    ]
    return Ran(records, Path(out) / "quick" if quick else Path(out))


def report(directory: Path = Path("runs/experiments"), *, out: Path | None = None) -> Path:
    """Make a page of tables and figures from the records in a directory.

    Args:
        directory: with records, at any depth.
        out: the page (default: report.html in the directory).

    Raises:
        RunError: there are no records, or one cannot be read.
    """
    records = Path(directory) / "records"
    found = load_bench_records(records if records.is_dir() else Path(directory))
    return write_bench_report(found, out or Path(directory) / "report.html")


def some_classes(images: ImageSet, count: int) -> ImageSet:
    """The images of `count` classes drawn evenly over the sorted names, under a name that says so; all for 0.

    Raises:
        DataError: fewer than 8, which cannot be split into training and evaluation.
    """
    if not count:
        return images
    if count < LEAST_CLASSES:
        raise DataError(f"found --classes {count}, expected at least {LEAST_CLASSES}, or 0 for all")
    names = np.unique(images.labels)
    if count >= len(names):
        return images
    chosen = names[np.linspace(0, len(names) - 1, count).round().astype(int)]
    some = images.take(np.flatnonzero(np.isin(images.labels, chosen)))
    return replace(some, name=f"{images.name}-{count}")


def _defaults(scenario: str, quick: bool) -> list[str]:
    if scenario == "sequential":
        return ["influence"]
    return list(QUICK_METHODS if quick else DEFAULT_METHODS)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    words = _words(text)
    if not words or not all(word.isdecimal() for word in words):
        raise SettingsError(f"found --seeds {text!r}, expected whole numbers of 0 or more with commas between")
    return list(dict.fromkeys(map(int, words)))


def _command(scenario: str, methods: str, seeds: str, data: str, classes: int, quick: bool) -> str:
    words = ["bict", "experiment", "run", scenario]
    words += ["--methods", methods] if methods else []
    words += ["--seeds", seeds, "--data", Path(data).name]
    words += ["--classes", str(classes)] if classes else []
    return shlex.join([*words, "--quick"] if quick else words)
