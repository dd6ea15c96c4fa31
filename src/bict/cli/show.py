"""What each command prints: a table or a few lines for people, JSON for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from bict.evaluation import PairResult
    from bict.gallery import SearchResult, UpgradeReport
    from bict.models import Model
    from bict.reports import ResultRecord
    from bict.transforms import Transform
    from bict.workflow.embed import Embedded


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
        "checks": [{"name": check.name, "passed": check.passed, "found": check.found} for check in checks],
        "opened": list(report.opened),
    }
    lines = {f"{check.name}": f"{'ok' if check.passed else 'FAILED'}  {check.found}" for check in checks}
    done = "was upgraded before: nothing changed" if report.already_upgraded else "is live, the old vectors are kept"
    _lines({**lines, "column": f"{report.column} {done}"}, content, as_json)


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
        table.add_column(name, justify="right" if name in {"value", "mAP", "similarity", "seconds", "rank"} else "left")
    return table


def _console() -> Console:
    return Console()
