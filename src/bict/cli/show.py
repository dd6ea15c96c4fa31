"""What each command prints: a table or a few lines for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bict.cli.show_assessment import assess, doubtful  # noqa: F401  (found here by name)
from bict.cli.show_experiment import experiment_list, experiment_report, experiment_run  # noqa: F401

if TYPE_CHECKING:
    from bict.evaluation import PairResult
    from bict.gallery import (
        Check,
        Finalized,
        GalleryInfo,
        SearchResult,
        StageReport,
        UpgradePlan,
        UpgradeReport,
        UpgradeStatus,
        VerifyReport,
    )
    from bict.gallery.describing import ColumnInfo
    from bict.gallery.forecast import Forecast
    from bict.models import Model
    from bict.reports import ResultRecord
    from bict.transforms import Transform
    from bict.workflow.embed import Embedded
    from bict.workflow.gallery import Deleted, Moved


def demo(record: ResultRecord, as_json: bool) -> None:
    """The result table, the verdict, and where the page is."""
    from bict.reports import print_result  # noqa: PLC0415

    if as_json:
        typer.echo(record.model_dump_json(by_alias=True))
        return
    console = _console()
    print_result(record, console)
    out = Path(str(record.config["out"]))
    console.print(f"\nreport   {out / 'report.html'}\nrecord   {out / 'result.json'}", highlight=False, soft_wrap=True)


def train(model: Model, as_json: bool) -> None:
    """The space of the trained model."""
    older = model.space.backward_compatible_with
    content = {"space": model.space.model_dump(), "classes": len(model.card.classes)}
    lines = {"model": str(model.space), "classes": str(len(model.card.classes))}
    if older:
        lines["compatible"] = "its queries match galleries of " + ", ".join(name[:8] for name in older)
    _lines(lines, content, as_json)


def embed(done: Embedded, as_json: bool) -> None:
    """Where the vectors went."""
    content = {"to": done.to, "rows": done.rows, "space": done.space.model_dump(), "skipped": list(done.skipped)}
    lines = {"written": f"{done.rows:,} vectors of {done.space} to {done.to}"}
    if done.skipped:
        lines["skipped"] = f"{len(done.skipped)} unreadable images: {', '.join(done.skipped[:3])}"
    _lines(lines, content, as_json)


def fit(transform: Transform, as_json: bool) -> None:
    """The ladder and the chosen rung."""
    card = transform.card()
    if as_json:
        typer.echo(card.model_dump_json())
        return
    table = _table("transform", "mAP", "95 %", "seconds", "")
    for rung in card.scores.rungs if card.scores else ():
        low, high = rung.map_interval or (float("nan"), float("nan"))
        scored = ("-", "-") if rung.map is None else (f"{rung.map:.3f}", f"{low:.3f}-{high:.3f}")
        table.add_row(
            rung.name, *scored, f"{rung.seconds:.1f}", "chosen" if rung.name == card.rung else escape(rung.note)
        )
    console = _console()
    console.print(table)
    where = f"\n{card.rung}: {card.source} -> {card.target}, in {transform.path}"
    console.print(where, highlight=False, soft_wrap=True)


def upgrade(report: UpgradeReport, as_json: bool) -> None:
    """What was staged, how the checks went, and which column is live."""
    checks = report.verified.checks if report.verified else ()
    content = {
        "column": report.column,
        "already_upgraded": report.already_upgraded,
        "rows": report.staged.rows if report.staged else 0,
        "checks": [asdict(check) for check in checks],
        "index": report.index,
        "opened": list(report.opened),
    }
    lines = {check.name: f"{_mark(check)}  {check.found}" for check in checks}
    if report.index:
        lines["index"] = report.index
    done = (
        "was upgraded before: nothing changed"
        if report.already_upgraded
        else "is live; the old vectors are kept: bict upgrade rollback goes back, bict upgrade finalize removes them"
    )
    _lines({**lines, "column": f"{report.column} {done}"}, content, as_json)


def step(result: Any, as_json: bool) -> None:  # noqa: ANN401  (what the steps of an upgrade return)
    """What a step of an upgrade found or did."""
    content = asdict(result)
    if hasattr(result, "passed"):
        content["passed"] = result.passed
    _lines(STEP_LINES[type(result).__name__](result), content, as_json)


SAME = " --precision ..., as now"


def _plan_lines(plan: UpgradePlan) -> dict[str, str]:
    seconds = (
        "not measured" if plan.seconds is None else f"about {plan.seconds:,.0f} s at {plan.rows_per_second:,.0f} rows/s"
    )
    free = "not known" if plan.bytes_free is None else f"{plan.bytes_free:,}"
    lines = {"gallery": plan.gallery, "writes": f"column {plan.column or '-'} in space {plan.target}"}
    for number, route in enumerate(plan.steps, 1):
        name = "from" if len(plan.steps) == 1 else f"from {number}"
        lines[name] = f"{route.rows:,} rows of {route.source} ({route.space}) by transform {route.transform[:12]}"
    lines |= {"rows": f"{plan.rows:,}", "bytes": f"{plan.bytes_to_write:,} to write, {free} free"}
    lines["time"] = f"{seconds} to transform, {plan.threads or 1} at once; reading, writing and the index come on top"
    if plan.kept_neighbours is not None:
        lines["precision"] = f"{plan.kept_neighbours:.1%} of the 10 nearest stay as in float32, among the first rows"
    if plan.forecast:
        lines |= _forecast_lines(plan.forecast)
    lines |= {f"note {number}": text for number, text in enumerate(plan.warnings, 1)}
    lines |= {f"PROBLEM {number}": text for number, text in enumerate(plan.problems, 1)}
    return lines | {
        "next": f"nothing was written; bict upgrade run GALLERY TRANSFORM{SAME if plan.kept_neighbours else ''}"
        if plan.passed
        else "mend the problems"
    }


def _duration(seconds: float) -> str:
    """Seconds as one would say them."""
    for name, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:,.1f} {name}"
    return f"about {seconds:,.0f} s"


def _forecast_lines(found: Forecast) -> dict[str, str]:
    who = "by this process" if found.workers is None else f"by {found.workers} workers"
    moved = f"{found.bytes_to_read:,} bytes to read, {found.bytes_to_write:,} to write"
    return {
        "FORECAST": f"{found.rows:,} rows {who}, from a trial of {found.trial_rows:,} random vectors that was removed",
        "staging": f"{_duration(found.stage_seconds)} at {found.rows_per_second:,.0f} rows/s; {moved}",
        "storage": f"{found.bytes_per_second / 1e6:,.0f} MB/s must be read and written, or staging waits for it",
        "verifying": f"{_duration(found.verify_seconds)}, in one process, and two searches of its sample",
        "index": f"{_duration(found.index_seconds)}, in the store; the least certain figure",
        "in all": _duration(found.seconds),
    }


def _stage_lines(report: StageReport) -> dict[str, str]:
    skipped = f", {report.units_skipped} of them done before" if report.units_skipped else ""
    return {
        "staged": f"{report.rows:,} rows in {report.units} units{skipped}, to column {report.column}",
        "from": ", ".join(report.sources),
        "seconds": f"{report.seconds:.1f}",
        "next": "bict upgrade verify GALLERY TRANSFORM" + (SAME if report.rounded else ""),
    }


def _status_lines(found: UpgradeStatus) -> dict[str, str]:
    lines = {"live": found.live}
    if found.column:
        share = f"{found.rows_done:,} of {found.rows:,} rows, {found.units_done} of {found.units} units"
        lines |= {"column": f"{found.column} is {found.state}", "done": share}
        lines |= {"verified": "yes" if found.checked else "no", "index": found.index or "none yet"}
    return {**lines, "next": found.next}


def _verify_lines(report: VerifyReport) -> dict[str, str]:
    lines = {check.name: f"{_mark(check)}  {check.found}" for check in report.checks}
    good = "bict upgrade index, then bict upgrade switch"
    return {**lines, "next": good if report.passed else "bict upgrade run again, or bict upgrade discard"}


def _mark(check: Check) -> str:
    """How a check went; `info` where it is no gate."""
    if not check.required:
        return "info"
    return "ok" if check.passed else "FAILED"


def _finalize_lines(done: Finalized) -> dict[str, str]:
    lines = {"removed": ", ".join(done.dropped) or "nothing"}
    if done.kept:
        lines["kept"] = f"{', '.join(done.kept)}: {done.bytes_kept:,} bytes, removed with --drop-base"
    return {**lines, **{f"copy {number}": place for number, place in enumerate(done.copies, 1)}}


STEP_LINES: dict[str, Callable[[Any], dict[str, str]]] = {
    "UpgradePlan": _plan_lines,
    "StageReport": _stage_lines,
    "UpgradeStatus": _status_lines,
    "VerifyReport": _verify_lines,
    "Finalized": _finalize_lines,
    "Step": lambda done: {"column": f"{done.column}: {done.done}", "next": done.next},
}


def gallery_info(found: GalleryInfo, as_json: bool) -> None:
    """Columns, their spaces, and where their vectors come from."""
    if as_json:
        typer.echo(json.dumps({**asdict(found), "columns": [_column_content(column) for column in found.columns]}))
        return
    console = _console()
    console.print(
        f"{found.address}: {found.rows:,} rows, payload {', '.join(found.payload) or 'none'}", highlight=False
    )
    if found.unserved:
        console.print(f"{found.unserved:,} rows have no vector in the live column and are not found", highlight=False)
    table = _table("column", "state", "space", "rows", "index")
    for column in found.columns:
        cells = (
            column.name,
            column.state,
            str(column.space),
            f"{column.rows:,}",
            (column.index or "").partition(":")[0],
        )
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    for column in found.columns:
        for line in column.made_from:
            console.print(f"{column.name}  {line}", highlight=False, markup=False, soft_wrap=True)


gallery_adopt = gallery_info


def gallery_import(moved: Moved, as_json: bool) -> None:
    """How many rows went where."""
    left = f"; {moved.left_out:,} rows without a vector were left out" if moved.left_out else ""
    _lines({"written": f"{moved.rows:,} rows of {moved.source} to {moved.to}{left}"}, asdict(moved), as_json)


gallery_export = gallery_import


def gallery_delete(done: Deleted, as_json: bool) -> None:
    """How many rows were erased."""
    lines = {"erased": f"{done.rows:,} rows"}
    if done.rows < done.asked:
        lines["not found"] = f"{done.asked - done.rows:,} of {done.asked:,} ids are not in the gallery"
    lines["note"] = done.note
    _lines(lines, asdict(done), as_json)


def _column_content(column: ColumnInfo) -> dict[str, Any]:
    return {**vars(column), "space": column.space.model_dump()}


def search(result: SearchResult, as_json: bool) -> None:
    """The hits of each query image."""
    labels = result.payload.get("label")
    hits = [
        {
            "query": row + 1,
            "rank": rank + 1,
            "id": result.ids[row, rank].item(),
            "similarity": round(float(result.similarities[row, rank]), 6),
            **({} if labels is None else {"label": labels[row, rank]}),
        }
        for row in range(len(result.ids))
        for rank in range(result.ids.shape[1])
    ]
    if as_json:
        typer.echo(json.dumps({"comparison": result.comparison, "hits": hits}))
        return
    table = _table("query", "rank", "similarity", "id", "label")
    for hit in hits:
        cells = (hit["query"], hit["rank"], f"{hit['similarity']:.3f}", hit["id"], hit.get("label", ""))
        table.add_row(*(escape(str(cell)) for cell in cells))
    console = _console()
    console.print(table)
    console.print(f"\nqueries and gallery: {result.comparison}", highlight=False)


def evaluate(result: PairResult, as_json: bool) -> None:
    """Scores with their intervals."""
    if as_json:
        intervals = {f"{key}_interval": list(value) for key, value in result.intervals.items()}
        typer.echo(json.dumps({"query": result.query, "gallery": result.gallery, **result.scores, **intervals}))
        return
    table = _table("score", "value", "95 %")
    for key, value in result.scores.items():
        low, high = result.intervals[key]
        table.add_row(key, f"{value:.3f}", f"{low:.3f}-{high:.3f}")
    console = _console()
    console.print(f"query={result.query}, gallery={result.gallery}\n", highlight=False)
    console.print(table)


def benchmark(scores: dict[str, dict[str, float]], as_json: bool) -> None:
    """One line for each protocol, usage or false accept rate."""
    if as_json:
        typer.echo(json.dumps(scores))
        return
    table = _table("", *next(iter(scores.values()), {}))
    for kind, values in scores.items():
        table.add_row(kind, *(f"{value:.4f}" for value in values.values()))
    _console().print(table)


def report(page: Path, as_json: bool) -> None:
    """Where the page is."""
    _lines({"report": str(page)}, {"report": str(page)}, as_json)


def _lines(lines: dict[str, str], content: Any, as_json: bool) -> None:  # noqa: ANN401
    if as_json:
        typer.echo(json.dumps(content))
        return
    width = max(map(len, lines))
    for name, text in lines.items():
        _console().print(f"{name:<{width}}  {text}", highlight=False, markup=False, soft_wrap=True)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(
            name, justify="right" if name in {"value", "mAP", "similarity", "seconds", "rank", "rows"} else "left"
        )
    return table


def _console() -> Console:
    return Console()
