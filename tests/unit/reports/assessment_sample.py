"""Assessments made by hand: every number is chosen, so that a page or a table can be read against it."""

from __future__ import annotations

import math
from typing import Any

from bict.reports.assessment import (
    AssessmentRecord,
    Candidate,
    Confidence,
    CurvePoint,
    Estimate,
    Gate,
    Kind,
    Preflight,
    Threshold,
)
from bict.spaces import Space

UNKNOWN = Estimate(value=math.nan, interval=(math.nan, math.nan))
SCORES: dict[str, tuple[Kind, float]] = {
    "old": ("old", 0.450),
    "ridge": ("upgrade", 0.512),
    "mlp": ("upgrade", 0.505),
    "bridge-mlp": ("bridge", 0.489),
    "fused-ridge": ("fuse", 0.531),
    "backfill": ("backfill", 0.570),
}


def around(value: float, spread: float = 0.01) -> Estimate:
    return Estimate(value=value, interval=(value - spread, value + spread))


def upper(value: float) -> Estimate:
    return Estimate(value=min(value, 1), interval=(min(value - 0.01, 1), min(value + 0.01, 1)))


def make_candidate(name: str, kind: Kind, score: float, old: float, full: float) -> Candidate:
    """All its numbers follow from its mAP."""
    return Candidate(
        name=name,
        kind=kind,
        choice=score,
        map=around(score),
        recall_at_1=upper(score + 0.2),
        recall_at_10=upper(score + 0.35),
        gain=around(score - old, 0.018),
        recovered_share=around((score - old) / (full - old), 0.08) if full > old else UNKNOWN,
        negative_flip_rate=around(0.041, 0.006) if kind != "old" else around(0.0, 0.0),
        positive_flip_rate=around(0.087, 0.008),
        score_gap=0.27,
        worst_group="tea cups" if kind != "old" else "",
        worst_change=-0.034 if kind != "old" else math.nan,
        seconds=0.42,
    )


def make_assessment(
    chosen: str = "ridge", *, scores: dict[str, tuple[Kind, float]] | None = None, **changes: Any
) -> AssessmentRecord:
    """An assessment whose record-wide numbers are those of the chosen candidate, or of ridge if none is chosen."""
    scores = scores or SCORES
    old, full = scores["old"][1], scores["backfill"][1]
    rungs = [make_candidate(name, kind, score, old, full) for name, (kind, score) in scores.items()]
    skipped = Candidate(name="head", kind="upgrade", choice=math.nan, note="skipped: fewer than two items a label")
    best = next(rung for rung in rungs if rung.name == (chosen or "ridge"))
    fields: dict[str, Any] = {
        "command": "bict assess --old old.parquet --new new.parquet",
        "verdict": "upgrade",
        "chosen": chosen,
        "best": best.name,
        "reasons": ["the gain of ridge is above zero with its whole interval (+.044 to +.080)"],
        "warnings": [],
        "measure": "labels",
        "old": around(old),
        "upgraded": best.map,
        "backfill": around(full),
        "recovered_share": best.recovered_share,
        "negative_flip_rate": best.negative_flip_rate,
        "rungs": [*rungs[:-1], skipped, rungs[-1]],
        "learning_curve": [
            CurvePoint(pairs=500 * 2**step, gain=around(gain, 0.018))
            for step, gain in enumerate((-0.012, 0.021, 0.041, 0.054, 0.062))
        ],
        "preflight": Preflight(agreement=0.834, pairs=2000),
        "threshold": Threshold(
            old=0.62,
            new=around(0.55, 0.01),
            false_positive_rate=0.000123,
            true_positive_rate_old=0.71,
            true_positive_rate_new=0.763,
            unmoved_false_positive_rate=0.0000049,
        ),
        "confidence": Confidence(
            rank_correlation=0.46,
            ratios=(0.0, 0.1, 0.25, 0.5, 0.75, 1.0),
            predicted_first=(0.512, 0.527, 0.541, 0.556, 0.565, 0.57),
            random=(0.512, 0.516, 0.523, 0.538, 0.554, 0.57),
        ),
        "gates": [Gate(name="negative_flip_rate", bound=0.05, found=0.041, passed=True)],
        "counts": {"fit": 8000, "choose": 2000, "judge": 2000, "old_without_partner": 13},
        "spaces": {
            name: Space(name=name, fingerprint=mark * 16, dim=64) for name, mark in (("old", "a"), ("new", "b"))
        },
        "versions": {"bict": "0.1.0"},
        "timing": {"read": 1.2, "fit": 74.1},
        "config": {"old": "old.parquet", "new": "new.parquet", "seed": 0, "gates": {"max_flips": 0.05}},
    }
    return AssessmentRecord(**(fields | changes))


def make_verdicts() -> dict[str, AssessmentRecord]:
    """One record of every verdict."""
    poor: dict[str, tuple[Kind, float]] = {**SCORES, "old": ("old", 0.505), "ridge": ("upgrade", 0.509)}
    worse: dict[str, tuple[Kind, float]] = {**SCORES, "old": ("old", 0.56), "ridge": ("upgrade", 0.512)}
    return {
        "upgrade": make_assessment(),
        "bridge": make_assessment("bridge-mlp", verdict="bridge"),
        "fuse": make_assessment("fused-ridge", verdict="fuse"),
        "re-embed": make_assessment("", verdict="re-embed", scores=poor),
        "stay": make_assessment("", verdict="stay", scores=worse),
    }
