"""The assessment as one self-contained HTML page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bict.reports.advice import (
    MEASURED,
    advice,
    best_candidate,
    rate,
    share_interval,
    signed_interval,
)
from bict.reports.assessment import Answer, AssessmentRecord, Confidence, CurvePoint, Estimate, Kind, per_doubling
from bict.reports.assessment_figures import confidence_chart, curve_chart, ends_chart, measured_points
from bict.reports.files import write_text
from bict.reports.numbers import percent, score, signed
from bict.reports.page import flatten, template

MARKS: dict[Answer, str] = {"upgrade": "↑", "bridge": "→", "fuse": "+", "re-embed": "↻", "stay": "✕"}
KINDS: dict[Kind, str] = {
    "old": "nothing changes",
    "upgrade": "rewrites the gallery",
    "bridge": "maps the queries",
    "head": "maps the queries, by labels",
    "control": "maps old queries, by labels",
    "fuse": "rewrites, asks both models",
    "backfill": "re-embeds every image",
}
UNKNOWN = Estimate(value=math.nan, interval=(math.nan, math.nan))
GIVEN_RATIO = 0.25
"""Share re-embedded whose scores the text gives, or the nearest that was measured."""


def render_assessment(record: AssessmentRecord) -> str:
    """The page as text: no script, and nothing that is loaded from elsewhere."""
    best = best_candidate(record)
    charts = {"ends": ends_chart(record)}
    points = measured_points(record.learning_curve)
    charts |= {"curve": curve_chart(record)} if points else {}
    charts |= {"confidence": confidence_chart(record.confidence)} if record.confidence else {}
    content: dict[str, Any] = {
        "record": record,
        "advice": advice(record),
        "mark": MARKS[record.verdict],
        "tone": _tone(record),
        "best": best.name if best else "",
        "gain": best.gain if best and best.gain else UNKNOWN,
        "score_gap": best.score_gap if best and math.isfinite(best.score_gap) else None,
        "kinds": KINDS,
        "measured": MEASURED[record.measure],
        "more_pairs": _more_pairs(points),
        "order": _order(record.confidence) if record.confidence else "",
        "settings": flatten(record.config),
        "charts": {name: Markup(chart) for name, chart in charts.items()},  # noqa: S704 - made and escaped by us
        "signed": signed,
        "signed_interval": signed_interval,
        "share_interval": share_interval,
        "rate": rate,
    }
    return template("assessment.html").render(content)


def write_assessment_page(record: AssessmentRecord, path: str | Path) -> Path:
    """Write the page in one step.

    Raises:
        RunError: the file cannot be written.
    """
    return write_text(render_assessment(record), path)


def _tone(record: AssessmentRecord) -> str:
    if record.passed:
        return "upgrade"
    return "keep" if record.verdict in ("stay", "re-embed") else "unclear"


def _more_pairs(points: list[CurvePoint]) -> str:
    """What twice the pairs would bring at the pace of the last two points."""
    pace = per_doubling(points)
    if pace is None:
        return "Measured at one number of pairs only, so this does not tell what more pairs would bring."
    before, last = points[-2:]
    seen = (
        f"From {before.pairs:,} to {last.pairs:,} pairs the gain went from {signed(before.gain.value)} to "
        f"{signed(last.gain.value)}."
    )
    if pace <= 0:
        return f"{seen} More pairs of this kind would bring nothing."
    return (
        f"{seen} At this pace {2 * last.pairs:,} pairs would bring about {signed(pace)} more; such curves flatten, so "
        "rather less."
    )


def _order(confidence: Confidence) -> str:
    """What re-embedding the predicted worst first brings, at one share of the gallery."""
    between = [place for place, ratio in enumerate(confidence.ratios) if 0 < ratio < 1]
    if not between:
        return "No share of the gallery between none and all was measured."
    place = min(between, key=lambda place: abs(confidence.ratios[place] - GIVEN_RATIO))
    first, drawn = confidence.predicted_first[place], confidence.random[place]
    if not (math.isfinite(first) and math.isfinite(drawn)):
        return "The scores along a partial re-embedding were not measured."
    return (
        f"With {percent(confidence.ratios[place])} of the gallery re-embedded, the largest predicted error first, mAP "
        f"is {score(first)}; in random order {score(drawn)}." + ("" if first > drawn else " That is no better.")
    )
