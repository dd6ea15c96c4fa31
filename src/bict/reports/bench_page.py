"""Bench records as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bict.reports.bench import BenchRecord
from bict.reports.bench_figures import chain_chart, methods_chart, sweep_chart
from bict.reports.bench_table import COLUMNS, grouped, is_plain, lines, marks, reference, served_share, sweep
from bict.reports.files import write_text
from bict.reports.page import template


def write_bench_report(records: Sequence[BenchRecord], path: str | Path) -> Path:
    """Write the page in one step.

    Raises:
        RunError: the file cannot be written.
    """
    sections = [_section(number, *key, some) for number, (key, some) in enumerate(grouped(records).items())]
    return write_text(template("bench.html").render(sections=sections, records=len(records)), path)


def _section(number: int, data: str, scenario: str, records: Sequence[BenchRecord]) -> dict[str, Any]:
    found, charts = lines(records), []
    plain = [line for line in found if is_plain(line.method) and line.served]
    if plain:
        charts.append(methods_chart(plain, f"methods-{number}"))
    for place, (method, curve) in enumerate(sweep(records).items()):
        charts.append(sweep_chart(curve, method, f"sweep-{number}-{place}"))
    if scenario == "sequential":
        charts += [
            chain_chart(line, gallery, f"chain-{number}-{place}-{gallery}")
            for place, line in enumerate(found)
            for gallery in ("once", "growing")
        ]
    first = reference(plain).method if plain else ""
    return {
        "title": f"{data}, {scenario}",
        "lines": [(line, served_share(line)) for line in found if line.served],
        "columns": COLUMNS,
        "first": first,
        "marks": marks([record for record in records if "@" not in record.method], first) if plain else {},
        "commands": sorted({record.command for record in records if record.command}),
        "quick": any(record.quick for record in records),
        "charts": [Markup(chart) for chart in charts],  # noqa: S704 - made and escaped by us
    }
