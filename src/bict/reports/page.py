"""The result as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup
from pydantic import JsonValue

from bict.reports import numbers
from bict.reports.figures import ladder_chart, loss_chart, rows_chart, timing_chart
from bict.reports.files import write_text
from bict.reports.record import ResultRecord, RowName
from bict.reports.strips import Strip
from bict.reports.verdict import gain_shares, summary, verdict

MEANINGS: dict[RowName, str] = {
    "old": "today: nothing changes",
    "backward": "new model for queries, stored vectors untouched",
    "upgraded": "new model for queries, stored vectors transformed, no image read",
    "backfill": "every gallery image read and embedded again by the new model",
    "free_upgraded": "free new model for queries, stored vectors through a transform of its own",
    "free_backfill": "every gallery image embedded again by the free new model: the reference",
}
MARKS = {"upgrade": "↑", "queries only": "→", "unclear": "?", "keep": "✕"}


def render_report(record: ResultRecord, strips: Sequence[Strip] | None = None) -> str:
    """The page as text: no script, and nothing that is loaded from elsewhere."""
    return template("report.html").render(_content(record, strips))


def template(name: str) -> Template:
    """A page's template with the filters for numbers."""
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": numbers.score,
        "interval": numbers.interval,
        "half_width": numbers.half_width,
        "percent": numbers.percent,
        "seconds": numbers.seconds,
    }
    return environment.get_template(name)


def write_report(record: ResultRecord, strips: Sequence[Strip] | None, path: str | Path) -> Path:
    """Write the page in one step.

    Raises:
        RunError: the file cannot be written.
    """
    return write_text(render_report(record, strips), path)


def flatten(config: Mapping[str, JsonValue], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as `(dotted key, JSON value)` pairs in their order."""
    pairs: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            pairs += flatten(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)))
    return pairs


def _template(name: str) -> str:
    return files("bict.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _content(record: ResultRecord, strips: Sequence[Strip] | None) -> dict[str, Any]:
    answer = verdict(record)
    charts = {"rows": rows_chart(record), "losses": loss_chart(record), "timing": timing_chart(record)}
    ladders = {"ladder": record.ladder, "free_ladder": record.free_ladder}
    charts |= {name: ladder_chart(ladder, name) for name, ladder in ladders.items() if ladder is not None}
    return {
        "record": record,
        "rows": record.by_name,
        "verdict": answer,
        "mark": MARKS[answer.answer],
        "summary": summary(record),
        "shares": gain_shares(record),
        "meanings": MEANINGS,
        "strips": list(strips or ()),
        "settings": flatten(record.config),
        "charts": {name: Markup(chart) for name, chart in charts.items()},  # noqa: S704 - made and escaped by us
    }
