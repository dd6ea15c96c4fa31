"""What `bict experiment` prints: what there is, what the methods gave, and where the page is."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from bict.experiments.experiment import Known, Ran
    from bict.reports.bench import BenchRecord


def experiment_list(known: Known, as_json: bool) -> None:
    """Scenarios, methods and groups."""
    if as_json:
        typer.echo(json.dumps(asdict(known)))
        return
    for title, entries in (("scenario", known.scenarios), ("method", known.methods)):
        table = _table(title, "")
        for name, line in entries.items():
            table.add_row(name, escape(line))
        Console().print(table)
    width = max(map(len, known.groups))
    for name, members in known.groups.items():
        _line(f"{name:<{width}}  {', '.join(members)}")


def experiment_run(ran: Ran, as_json: bool) -> None:
    """One line for each method, the best first, and where the records are; as JSON a list of records."""
    if as_json:
        typer.echo(json.dumps([json.loads(record.model_dump_json(by_alias=True)) for record in ran.records]))
        return
    _methods(ran.records)
    _line(f"records         {ran.directory}")
    _line(f"a page of them  bict experiment report {shlex.quote(str(ran.directory))}")


def _methods(records: list[BenchRecord]) -> None:
    from bict.reports.bench_table import baselines, lines, marks, reference, served_share  # noqa: PLC0415

    if records[0].scenario == "sequential":
        table = _table("gallery and generation", "mAP")
        for line in lines(records):
            for name, spread in line.rows.items():
                table.add_row(f"{line.method}, {name}", str(spread))
        Console().print(table)
        return
    if records[0].quick:
        Console().print("--quick: undertrained models, these figures say nothing about the methods", style="yellow")
    found = lines(records)
    first, base = reference(found), baselines(found)
    marked = marks(records, first.method)
    table = _table("method", "backward", "served", "blended", "fused", "own backfill", "share")
    for line in found:
        served = f"{line.rows[line.served or '']}{marked.get(line.method, '')}"
        cells = [line.rows.get("backward"), served, *(line.rows.get(name) for name in ("blended", "fused", "backfill"))]
        table.add_row(line.method, *("" if cell is None else str(cell) for cell in [*cells, served_share(line)]))
    Console().print(table)
    old, free = (base.rows[name] for name in ("old", "free_backfill"))
    Console().print(
        f"old {old}, free new model's backfill {free}; + -: served above or below {first.method}", style="dim"
    )


def experiment_report(page: Path, as_json: bool) -> None:
    """Where the page is."""
    _line(json.dumps({"report": str(page)}) if as_json else f"report  {page}")


def _line(text: str) -> None:
    Console().print(text, highlight=False, markup=False, soft_wrap=True)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name == "mAP" else "left")
    return table
