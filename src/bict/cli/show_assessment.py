"""What `bict assess` prints: the verdict, the numbers behind it, and where the page is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bict.reports.assessment import AssessmentRecord, Candidate
    from bict.workflow.doubtful import Doubtful

NAME_WIDTH = 18
"""Columns of a candidate's name; a longer one goes on below, so that 80 columns hold the table."""


def doubtful(result: Doubtful, as_json: bool) -> None:
    """How many items are listed, and where."""
    if as_json:
        typer.echo(json.dumps({**asdict(result), "out": str(result.out)}))
        return
    console = Console()
    console.print(f"{result.items} of {result.rows} items, the most doubtful first: {result.out}", highlight=False)
    if result.left_out:
        console.print(
            f"left out: {result.left_out} vectors that are zero, not finite or of a wrong length", highlight=False
        )
    console.print(
        f"expected 1 - cosine of upgraded and new vector: {result.first:.3f} for the first, {result.median:.3f} median",
        highlight=False,
    )


class Assessed(Protocol):
    """What an assessment returns: its record, and the page if one was written."""

    @property
    def record(self) -> AssessmentRecord:
        """The record."""

    @property
    def page(self) -> Path | None:
        """Where the page is."""


def assess(result: Assessed, as_json: bool) -> None:
    """Verdict, reasons, candidates, bounds, warnings, what to run next, and where the page is."""
    from bict.reports.advice import advice  # noqa: PLC0415

    record = result.record
    if as_json:
        typer.echo(record.model_dump_json(by_alias=True))
        return
    console, said = Console(), advice(record)
    style = "bold yellow"
    if record.verdict in ("stay", "re-embed"):
        style = "bold red"
    elif record.passed and record.measure != "new model's neighbours":
        style = "bold green"
    headline = f"{said.headline} with {said.method}" if said.method else said.headline
    console.print(Text.assemble((f"{headline}.", style), " ", said.sentence))
    if said.refused:
        console.print(Text(said.refused, style="bold red"))
    _listed(console, "why", record.reasons)
    console.print()
    console.print(candidates_table(record))
    skipped = {rung.name: rung.note.removeprefix("skipped: ") for rung in record.rungs if rung.map is None}
    _listed(console, "skipped", [f"{name}: {note or 'not judged'}" for name, note in skipped.items()])
    if record.gates:
        console.print()
        console.print(_gates(record))
    _listed(console, "warning", record.warnings, "yellow")
    _next(
        console, [step.command or step.meaning for step in said.steps], "once every bound holds" if said.refused else ""
    )
    _listed(console, "or", [said.instead] if said.instead else [])
    if result.page is not None:
        console.print(Text.assemble("\n", "page     ", str(result.page)), soft_wrap=True)


def candidates_table(record: AssessmentRecord) -> Table:
    """The judged candidates: mAP and gain with their 95 % intervals, recovered share, recall at 1, negative flips."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("way", max_width=NAME_WIDTH, overflow="fold")
    for name in ("mAP", "95 %", "gain", "95 %", "share", "R@1", "flips"):
        table.add_column(name, no_wrap=True, justify="right")
    for rung in record.rungs:
        if rung.map is not None:
            table.add_row(*map(Text, _cells(rung)), style="bold" if rung.name == record.chosen else None)
    return table


def _cells(rung: Candidate) -> tuple[str, ...]:
    from bict.reports.advice import signed_interval  # noqa: PLC0415
    from bict.reports.numbers import MISSING, interval, percent, score, signed  # noqa: PLC0415

    def of(name: str) -> float | None:
        estimate = getattr(rung, name)
        return None if estimate is None else float(estimate.value)

    return (
        rung.name,
        score(of("map")),
        interval(rung.map.interval) if rung.map else MISSING,
        signed(of("gain")),
        signed_interval(rung.gain.interval) if rung.gain else MISSING,
        percent(of("recovered_share")),
        score(of("recall_at_1")),
        percent(of("negative_flip_rate"), 1),
    )


def _gates(record: AssessmentRecord) -> Table:
    from bict.reports.numbers import score  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("bound", overflow="fold")
    for name in ("set", "found"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("")
    for gate in record.gates:
        result = Text("ok", style="green") if gate.passed else Text("FAILED", style="bold red")
        table.add_row(Text(gate.name.replace("_", " ")), score(gate.bound), score(gate.found), result)
    return table


def _listed(console: Console, name: str, lines: list[str], style: str = "") -> None:
    if not lines:
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for place, line in enumerate(lines):
        grid.add_row(Text(f"{name:<7}" if place == 0 else "", style=style), Text(line))
    console.print()
    console.print(grid)


def _next(console: Console, lines: list[str], when: str) -> None:
    """Each on one line of its own, so that it can be copied."""
    console.print(f"\n{when}:" if when else "")
    for place, line in enumerate(lines):
        console.print(Text(f"{'next' if place == 0 else '':<9}{line}"), soft_wrap=True)
