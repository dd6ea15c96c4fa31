"""The figures of bench records: methods beside each other, sweeps of the backward weight, and chains."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from bict.reports.bench_table import Line, baselines
from bict.reports.numbers import score
from bict.reports.svg import COLOURS, draw

WIDTH = 640
ROW_HEIGHT = 26
SWEEP = {"backward": "backward", "upgraded": "upgraded", "backfill": "backfill"}
CHAIN = {"fixed": "old", "composed": "backward", "refitted": "upgraded", "backfill": "backfill"}


def methods_chart(found: Sequence[Line], name: str) -> str:
    """Served mAP of every method, best first, between the old gallery and the free new model's backfill."""
    drawn = [line for line in found if line.served]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_yticks(range(len(drawn)), [line.method for line in drawn])
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        for place, line in enumerate(drawn):
            spread = line.rows[line.served or ""]
            colour = COLOURS["upgraded" if "upgraded" in line.rows else "backward"]
            axes.plot(spread.mean, place, "o", color=colour, ms=7)
            if not math.isnan(spread.sd):
                axes.plot([spread.mean - spread.sd, spread.mean + spread.sd], [place, place], color=colour, lw=2)
            end = spread.mean + (0 if math.isnan(spread.sd) else spread.sd)
            axes.annotate(score(spread.mean), (end, place), (8, 0), textcoords="offset points", va="center")
        for row, style in (("old", (0, (5, 3))), ("free_backfill", (0, (1, 2)))):
            axes.axvline(baselines(drawn).rows[row].mean, color=COLOURS["ink"], linewidth=1, linestyle=style, zorder=0)
        axes.set_xlabel("mAP, mean and sd over seeds; dashed: old, dotted: free backfill")

    told = ", ".join(f"{line.method} {score(line.rows[line.served or ''].mean)}" for line in drawn)
    return draw(name, f"Served mAP: {told}", (WIDTH, 70 + ROW_HEIGHT * len(drawn)), paint)


def sweep_chart(curve: Sequence[tuple[float, Line]], title: str, name: str) -> str:
    """Backward, forward and self-test mAP over the backward weight; hollow at 0 is the freely trained model."""
    weights = [weight for weight, _ in curve]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(axis="y")
        for row, colour in SWEEP.items():
            points = [(weight, line.rows[row].mean) for weight, line in curve if row in line.rows]
            for weight, value in points:
                axes.plot(weight, value, "o", color=COLOURS[colour], mfc="none" if weight == 0 else COLOURS[colour])
            rest = [point for point in points if point[0] > 0]
            axes.plot(*zip(*rest, strict=True), color=COLOURS[colour], label=row)
        axes.axhline(
            curve[0][1].rows["old"].mean, color=COLOURS["ink"], linewidth=1, linestyle=(0, (5, 3)), label="old"
        )
        axes.set_xscale("symlog", linthresh=min([weight for weight in weights if weight > 0], default=1.0))
        axes.set_xticks(weights, [f"{weight:g}" for weight in weights], rotation=45)
        axes.minorticks_off()
        axes.set_xlabel(f"backward weight of {title}")
        axes.set_ylabel("mAP")
        axes.legend()

    told = "; ".join(f"{weight:g}: {score(line.rows['upgraded'].mean)}" for weight, line in curve)
    return draw(name, f"Upgraded mAP by backward weight of {title}: {told}", (WIDTH / 2, 260), paint)


def chain_chart(line: Line, gallery: str, name: str) -> str:
    """Each generation's queries on the four states of a gallery."""
    generations = list(range(1, 1 + sum(row.startswith(f"{gallery} fixed") for row in line.rows)))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(axis="y")
        for state, colour in CHAIN.items():
            means = [line.rows[f"{gallery} {state} {number}"].mean for number in generations]
            axes.plot(generations, means, marker="o", color=COLOURS[colour], label=state)
        axes.set_xticks(generations)
        axes.set_xlabel(f"generation of the query model; gallery written {gallery}")
        axes.set_ylabel("mAP")
        axes.legend()

    told = ", ".join(f"{state} {score(line.rows[f'{gallery} {state} {generations[-1]}'].mean)}" for state in CHAIN)
    return draw(name, f"Last generation: {told}", (WIDTH / 2, 260), paint)
