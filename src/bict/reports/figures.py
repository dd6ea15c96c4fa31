"""The figures of a result record, each an inline SVG element for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bict.reports.numbers import interval, score, seconds
from bict.reports.record import Epoch, Interval, Ladder, ResultRecord, Row
from bict.reports.svg import COLOURS, draw

WIDTH = 500
ROW_HEIGHT = 34
TERMS = {"loss": "-", "classification": "--", "backward": ":"}


def rows_chart(record: ResultRecord, name: str = "rows") -> str:
    """Bars of mAP with 95 % intervals, and lines at the old gallery and at the full backfill."""
    rows = record.rows
    reference = record.by_name["free_backfill" if "free_backfill" in record.by_name else "backfill"]

    def paint(figure: Figure) -> None:
        axes = _rows_axes(figure, [row.name.replace("_", " ") for row in rows])
        for place, row in enumerate(rows):
            _bar(axes, place, row)
        for row, style in ((rows[0], (0, (5, 3))), (reference, (0, (1, 2)))):
            if math.isfinite(row.map):
                axes.axvline(row.map, color=COLOURS["ink"], linewidth=1, linestyle=style, zorder=1.5)
        axes.set_xlim(0, max(0.05, *(_top(row.map, row.map_interval) for row in rows)) * 1.12)
        axes.set_xlabel(f"mAP, 95 % interval; dashed: old, dotted: {reference.name.replace('_', ' ')}")

    told = ", ".join(f"{row.name.replace('_', ' ')} {score(row.map)}" for row in rows)
    return draw(name, f"mAP of every pairing: {told}", _size(len(rows)), paint)


def ladder_chart(ladder: Ladder, name: str = "ladder") -> str:
    """Every candidate transform as a point with its 95 % interval; the chosen one is filled and named."""

    def paint(figure: Figure) -> None:
        labels = [rung.name + (" (chosen)" if rung.name == ladder.chosen else "") for rung in ladder.rungs]
        axes = _rows_axes(figure, labels)
        axes.grid(axis="x")
        for place, rung in enumerate(ladder.rungs):
            chosen = rung.name == ladder.chosen
            _whisker(axes, place, rung.map, rung.map_interval, COLOURS["upgraded"])
            face = COLOURS["upgraded"] if chosen else "none"
            axes.plot(rung.map, place, "D" if chosen else "o", ms=8, mfc=face, mec=COLOURS["upgraded"], mew=1.6)
            axes.annotate(score(rung.map), (rung.map, place), (0, 8), textcoords="offset points", ha="center")
        axes.set_xlabel("mAP on held-out training classes, 95 % interval")

    told = ", ".join(f"{rung.name} {score(rung.map)} ({interval(rung.map_interval)})" for rung in ladder.rungs)
    return draw(name, f"Candidate transforms, chosen {ladder.chosen}: {told}", _size(len(ladder.rungs)), paint)


def loss_chart(record: ResultRecord, name: str = "losses") -> str:
    """Mean loss of every epoch, one panel a model: solid the whole; where it has a backward term, its parts too."""
    models = {model: epochs for model, epochs in record.training.items() if epochs}

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, max(1, len(models)), squeeze=False)[0]
        for axes, (model, epochs) in zip(panels, models.items(), strict=False):
            _loss_panel(axes, model, epochs)
        handles = {line.get_label(): line for axes in panels for line in axes.get_lines()}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, handlelength=2.6)

    told = ", ".join(f"{model} ends at {epochs[-1].loss:.3g}" for model, epochs in models.items())
    return draw(name, f"Training losses by epoch: {told}", (WIDTH, 230), paint)


def timing_chart(record: ResultRecord, name: str = "timing") -> str:
    """Bars of the seconds each step took, in the order they ran."""
    steps = {step: time for step, time in record.timing.items() if math.isfinite(time)}

    def paint(figure: Figure) -> None:
        axes = _rows_axes(figure, list(steps))
        axes.barh(range(len(steps)), list(steps.values()), height=0.56, color=COLOURS["upgraded"])
        for place, time in enumerate(steps.values()):
            axes.annotate(seconds(time), (time, place), (5, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, max([1e-9, *steps.values()]) * 1.25)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    told = ", ".join(f"{step} {seconds(time)}" for step, time in steps.items())
    return draw(name, f"Time of each step: {told}", (WIDTH, 20 + 26 * max(1, len(steps))), paint)


def _rows_axes(figure: Figure, labels: Sequence[str]) -> Axes:
    axes = figure.subplots()
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    return axes


def _bar(axes: Axes, place: int, row: Row) -> None:
    if not math.isfinite(row.map):
        return
    family = row.name.split("_", maxsplit=1)[0]
    oracle = row.name in ("backfill", "free_backfill")
    looks: dict[str, Any] = {"facecolor": "none", "hatch": "///"} if oracle else {"facecolor": COLOURS[family]}
    axes.barh(place, row.map, height=0.62, edgecolor=COLOURS[family], linewidth=1.4, **looks)
    _whisker(axes, place, row.map, row.map_interval, COLOURS["ink"])
    weight = "bold" if row.name == "upgraded" else "normal"
    end = (_top(row.map, row.map_interval), place)
    axes.annotate(score(row.map), end, (6, 0), textcoords="offset points", va="center", fontweight=weight)


def _whisker(axes: Axes, place: int, value: float, bounds: Interval, colour: str) -> None:
    if math.isfinite(value) and all(map(math.isfinite, bounds)):
        axes.plot(bounds, (place, place), color=colour, linewidth=1.6, marker="|", markersize=7)


def _loss_panel(axes: Axes, model: str, epochs: Sequence[Epoch]) -> None:
    steps = [epoch.epoch for epoch in epochs]
    parts = any(math.isfinite(epoch.backward) for epoch in epochs)
    for term, style in TERMS.items():
        values = [getattr(epoch, term) for epoch in epochs]
        if term == "loss" or (parts and any(map(math.isfinite, values))):
            marker = "o" if len(epochs) == 1 else ""
            colour = COLOURS["upgraded"] if term == "loss" else COLOURS["ink"]
            axes.plot(steps, values, style, color=colour, marker=marker, linewidth=1.8, label=term)
    axes.set_title(model)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]) if _negative(epochs) else 0)
    axes.tick_params(axis="y", labelsize=11, labelcolor=COLOURS["muted"])
    axes.grid(axis="y")


def _negative(epochs: Sequence[Epoch]) -> bool:
    return any(getattr(epoch, term) < 0 for epoch in epochs for term in TERMS)


def _top(value: float, bounds: Interval) -> float:
    return max((number for number in (value, bounds[1]) if math.isfinite(number)), default=0.0)


def _size(rows: int) -> tuple[float, float]:
    return WIDTH, 44 + ROW_HEIGHT * max(1, rows)
