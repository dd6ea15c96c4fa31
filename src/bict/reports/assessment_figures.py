"""The figures of an assessment, each an inline SVG element for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bict.reports.advice import best_candidate
from bict.reports.assessment import AssessmentRecord, Confidence, CurvePoint, Estimate, per_doubling
from bict.reports.numbers import score, signed
from bict.reports.svg import COLOURS, draw

WIDTH = 500
HEIGHT = 250
ROW_HEIGHT = 40
TICK_SPACING = 0.11
"""Least distance of two labelled numbers of pairs, as a part of the axis."""


def ends_chart(record: AssessmentRecord, name: str = "ends") -> str:
    """Bars of mAP with 95 % intervals: the old model, the best use of stored vectors, re-embedding every image."""
    best = best_candidate(record)
    bars = {"old": record.old, "upgraded": record.upgraded, "backfill": record.backfill}
    labels = ["old", best.name if best else "upgraded", "re-embedding"]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_yticks(range(3), labels)
        axes.set_ylim(2.6, -0.6)
        axes.spines["left"].set_visible(False)
        end = max(0.05, *map(_top, bars.values()))
        for place, (colour, estimate) in enumerate(bars.items()):
            weight = "bold" if colour == "upgraded" else "normal"
            told = score(estimate.value)
            axes.annotate(told, (end, place), (8, 0), textcoords="offset points", va="center", fontweight=weight)
            if math.isfinite(estimate.value):
                _bar(axes, place, colour, estimate)
        for estimate, style in ((record.old, (0, (5, 3))), (record.backfill, (0, (1, 2)))):
            if math.isfinite(estimate.value):
                axes.axvline(estimate.value, color=COLOURS["ink"], linewidth=1, linestyle=style, zorder=1.5)
        axes.set_xlim(0, end * 1.12)
        axes.set_xlabel("mAP, 95 % interval; dashed: old, dotted: re-embedding")

    spoken = ", ".join(f"{label} {score(bar.value)}" for label, bar in zip(labels, bars.values(), strict=True))
    return draw(name, f"mAP before, after, and with re-embedding: {spoken}", (WIDTH, 48 + 3 * ROW_HEIGHT), paint)


def curve_chart(record: AssessmentRecord, name: str = "curve") -> str:
    """Gain over old against the pairs fitted on, with its 95 % band; hollow: twice the pairs at the last pace."""
    points = measured_points(record.learning_curve)
    whole = record.backfill.value - record.old.value

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.set_xscale("log", base=2)
        pairs, gains = [point.pairs for point in points], [point.gain.value for point in points]
        lows, highs = zip(*(point.gain.interval for point in points), strict=True) if points else ((), ())
        axes.fill_between(pairs, lows, highs, color=COLOURS["upgraded"], alpha=0.18, linewidth=0)
        axes.plot(pairs, gains, "o-", color=COLOURS["upgraded"], linewidth=1.8)
        pace = per_doubling(points)
        if pace is not None:
            ahead = (pairs[-1], 2 * pairs[-1]), (gains[-1], gains[-1] + pace)
            axes.plot(*ahead, "o:", color=COLOURS["upgraded"], mfc="none", markevery=[1], linewidth=1.4)
        axes.axhline(0, color=COLOURS["ink"], linewidth=1, linestyle=(0, (5, 3)))
        if math.isfinite(whole):
            axes.axhline(whole, color=COLOURS["ink"], linewidth=1, linestyle=(0, (1, 2)))
        axes.set_xticks(ticks := _apart(pairs), [_short(count) for count in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("pairs fitted on; dashed: old, dotted: re-embedding")
        axes.set_ylabel("gain of mAP over old")

    told = ", ".join(f"{point.pairs:,} pairs {signed(point.gain.value)}" for point in points)
    return draw(name, f"Gain of mAP by the number of pairs: {told}", (WIDTH, HEIGHT), paint)


def confidence_chart(confidence: Confidence, name: str = "confidence") -> str:
    """Score along a partial re-embedding: largest predicted error first, and in random order."""
    shares = [100 * ratio for ratio in confidence.ratios]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.plot(shares, confidence.random, "s--", color=COLOURS["old"], label="random order", linewidth=1.6, ms=5)
        label = "largest predicted error first"
        axes.plot(shares, confidence.predicted_first, "o-", color=COLOURS["upgraded"], label=label, linewidth=1.8)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("share of the gallery re-embedded, %")
        axes.set_ylabel("mAP")
        axes.legend(handlelength=2.6)

    lines = zip(confidence.ratios, confidence.predicted_first, confidence.random, strict=True)
    told = ", ".join(f"{ratio:.0%} {score(first)} against {score(drawn)}" for ratio, first, drawn in lines)
    return draw(name, f"mAP by share re-embedded, predicted error first against random: {told}", (WIDTH, HEIGHT), paint)


def measured_points(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points of a learning curve that have a gain, by rising number of pairs."""
    return sorted((p for p in curve if math.isfinite(p.gain.value) and p.pairs > 0), key=lambda point: point.pairs)


def _bar(axes: Axes, place: int, colour: str, estimate: Estimate) -> None:
    looks: dict[str, Any] = {"facecolor": COLOURS[colour]}
    if colour == "backfill":
        looks = {"facecolor": "none", "hatch": "///"}
    axes.barh(place, estimate.value, height=0.6, edgecolor=COLOURS[colour], linewidth=1.4, **looks)
    if all(map(math.isfinite, estimate.interval)):
        axes.plot(estimate.interval, (place, place), color=COLOURS["ink"], linewidth=1.6, marker="|", markersize=7)


def _apart(pairs: Sequence[int]) -> list[int]:
    """The numbers, from the largest down, that can be labelled without touching on a log axis to twice the largest."""
    span = math.log2(2 * pairs[-1] / pairs[0]) if pairs else 1.0
    kept: list[int] = []
    for count in reversed(pairs):
        if not kept or math.log2(kept[-1] / count) >= TICK_SPACING * span:
            kept.append(count)
    return kept[::-1]


def _short(count: int) -> str:
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1_000:.3g}k" if count < 1_000_000 else f"{count / 1_000_000:.3g}M"


def _top(estimate: Estimate) -> float:
    return max((number for number in (estimate.value, estimate.interval[1]) if math.isfinite(number)), default=0.0)
