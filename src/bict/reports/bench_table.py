"""Bench records to tables: methods by scenario and data, mean and spread over seeds, and what is significant."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bict.errors import RunError
from bict.evaluation import significance_marks
from bict.reports.bench import BenchRecord, load_bench_record

SERVED = ("upgraded", "bridged", "merged")
SHARES = ("recovered_share", "bridged_share", "merged_share")
WEIGHTED = re.compile(r"(?P<method>.+)@(?P<weight>[\d.e-]+)")


@dataclass(frozen=True)
class Spread:
    """A mean over seeds, and the standard deviation; NaN for one seed."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of the values there are, or None where there is none."""
        found = [value for value in values if value is not None and math.isfinite(value)]
        if not found:
            return None
        return cls(statistics.mean(found), statistics.stdev(found) if len(found) > 1 else math.nan)

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if math.isnan(self.sd) else f" ± {self.sd:.3f}")


@dataclass(frozen=True)
class Line:
    """One method's line: mAP by row name, metrics by name, and the seeds they are of."""

    method: str
    seeds: tuple[int, ...]
    rows: dict[str, Spread]
    metrics: dict[str, Spread]

    @property
    def served(self) -> str | None:
        """The row that serves new queries after the upgrade."""
        return next((name for name in SERVED if name in self.rows), None)


def load_bench_records(directory: Path) -> list[BenchRecord]:
    """All records below a directory, in the order of their paths.

    Raises:
        RunError: there is none, or one cannot be read.
    """
    records = [load_bench_record(path) for path in sorted(directory.rglob("*.json")) if _is_record(path)]
    if not records:
        raise RunError(f"no records in {directory}: make some with bict experiment run --out {directory}")
    return records


def _is_record(path: Path) -> bool:
    """Whether a file is named as records are, METHOD-SEED.json; settings and timings of models lie beside them."""
    return path.stem.rsplit("-", 1)[-1].isdecimal()


def grouped(records: Sequence[BenchRecord]) -> dict[tuple[str, str], list[BenchRecord]]:
    """Records by data and scenario."""
    found: dict[tuple[str, str], list[BenchRecord]] = defaultdict(list)
    for record in records:
        found[record.data, record.scenario].append(record)
    return dict(found)


def lines(records: Sequence[BenchRecord]) -> list[Line]:
    """One line for each method of one scenario, the best served mAP first."""
    by_method: dict[str, list[BenchRecord]] = defaultdict(list)
    for record in records:
        by_method[record.method].append(record)
    found = [_line(method, some) for method, some in by_method.items()]
    return sorted(found, key=lambda line: -(line.rows[line.served].mean if line.served else 0))


def _line(method: str, records: Sequence[BenchRecord]) -> Line:
    names = list(dict.fromkeys(row.name for record in records for row in record.rows))
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    rows = {name: Spread.of(record.by_name[name].map for record in records if name in record.by_name) for name in names}
    values = {name: Spread.of(record.metrics.get(name) for record in records) for name in metrics}
    return Line(
        method,
        tuple(sorted({record.seed for record in records})),
        {name: spread for name, spread in rows.items() if spread is not None},
        {name: spread for name, spread in values.items() if spread is not None},
    )


def sweep(found: Sequence[Line]) -> dict[str, list[tuple[float, Line]]]:
    """Lines of methods with a weight in their name, by method, the weights rising."""
    curves: dict[str, list[tuple[float, Line]]] = defaultdict(list)
    for line in found:
        match = WEIGHTED.fullmatch(line.method)
        if match:
            curves[match["method"]].append((float(match["weight"]), line))
    return {method: sorted(points, key=lambda point: point[0]) for method, points in curves.items() if len(points) > 1}


def marks(records: Sequence[BenchRecord], reference: str) -> dict[str, str]:
    """`+` or `-` for each method of one scenario whose served mAP differs from the reference's, else nothing.

    By the paired 95 % bootstrap interval over the queries of all seeds that every method has; no correction is made
    for many comparisons.
    """
    found = {record.method: {r.seed: r for r in records if r.method == record.method} for record in records}
    seeds = sorted(set.intersection(*(set(each) for each in found.values())))
    scores = {
        method: np.concatenate([served_precision(by_seed[seed]) for seed in seeds])
        for method, by_seed in found.items()
        if seeds
    }
    return significance_marks(scores, reference) if len(scores) > 1 and reference in scores else {}


def served_precision(record: BenchRecord) -> NDArray[np.float64]:
    """Average precision `(queries,)` of the row that serves new queries."""
    name = next(name for name in SERVED if name in record.average_precision)
    return np.array(record.average_precision[name], np.float64)


def markdown(records: Sequence[BenchRecord]) -> str:
    """One Markdown table for each data set and scenario, and one for each sweep and chain."""
    parts = []
    for (data, scenario), some in grouped(records).items():
        plain = [record for record in some if "@" not in record.method]
        if scenario == "sequential":
            parts += [f"### {data}, {scenario}, {line.method}\n\n{_chain(line)}" for line in lines(some)]
            continue
        if plain:
            parts.append(f"### {data}, {scenario}\n\n{_methods(plain)}")
        for name, curve in sweep(lines(some)).items():
            parts.append(f"### {data}, {scenario}: weight of {name}\n\n{_weights(curve)}")
    return "\n\n".join(parts) + "\n"


def _methods(records: Sequence[BenchRecord]) -> str:
    found = lines(records)
    marked = marks(records, found[0].method)
    old, free = (found[0].rows[name] for name in ("old", "free_backfill"))
    head = [
        "method",
        "seeds",
        "backward",
        "served",
        "+ old kept",
        "backfill",
        "share",
        "share, old kept",
        "negative flips",
    ]
    table = [head, ["---"] * len(head)]
    for line in found:
        kept = "twin" if "twin" in line.rows else "fused"
        cells = [
            line.rows.get("backward"),
            None if line.served is None else f"{line.rows[line.served]}{marked.get(line.method, '')}",
            line.rows.get(kept),
            line.rows.get("backfill"),
            next((line.metrics[name] for name in SHARES if name in line.metrics), None),
            line.metrics.get(f"{kept}_share"),
            line.metrics.get("negative_flip_rate"),
        ]
        table.append([f"`{line.method}`", str(len(line.seeds)), *("" if cell is None else str(cell) for cell in cells)])
    note = f"mAP; old {old}, free new model's backfill {free}; `-`: served mAP below the first line's (paired 95 %)."
    return f"{_pipes(table)}\n\n{note}"


def _weights(curve: Sequence[tuple[float, Line]]) -> str:
    head = ["weight", "backward", "upgraded", "self-test", "share"]
    table = [head, ["---"] * len(head)]
    for weight, line in curve:
        cells = [line.rows.get(name) for name in ("backward", "upgraded", "backfill")]
        cells.append(line.metrics.get("recovered_share"))
        table.append([f"{weight:g}", *("" if cell is None else str(cell) for cell in cells)])
    return _pipes(table)


def _chain(line: Line) -> str:
    states = ("fixed", "composed", "refitted", "backfill")
    head = ["gallery", "generation", *states]
    table = [head, ["---"] * len(head)]
    for gallery in ("once", "growing"):
        count = sum(name.startswith(f"{gallery} fixed") for name in line.rows)
        table += [
            [gallery, str(number), *(str(line.rows[f"{gallery} {state} {number}"]) for state in states)]
            for number in range(1, 1 + count)
        ]
    return _pipes(table)


def _pipes(table: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)
