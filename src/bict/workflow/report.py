"""`bict report`: the page of a run, made again from its record."""

from __future__ import annotations

from pathlib import Path

from bict.reports import load_record, load_strips, write_report

RESULT = "result.json"
STRIPS = "strips.json"
PAGE = "report.html"


def report(run: Path) -> Path:
    """Write the report page of a run directory from its result record and return the page's path.

    Args:
        run: directory of a run, such as runs/demo.

    Raises:
        BictError: the directory holds no result record, or one that cannot be read.
    """
    run = Path(run)
    record = load_record(run / RESULT)
    strips = load_strips(run / STRIPS) if (run / STRIPS).exists() else None
    return write_report(record, strips, run / PAGE)
