"""Bench records to tables: methods by scenario and data, mean and spread over seeds, and what is significant."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bict.errors import RunError
from bict.evaluation import significance_marks
from bict.reports.bench import BenchRecord, load_bench_record

SERVED = {"upgraded": "recovered_share", "bridged": "bridged_share", "merged": "merged_share"}
"""The rows that serve new queries after an upgrade, one of them in every record, and the metric that is their share."""
COLUMNS = {
    "old": "old",
    "backward": "backward",
    "upgraded": "upgraded",
    "bridged": "bridged",
    "merged": "merged",
    "blended": "blended",
    "fused": "fused, old kept",
    "backfill": "own backfill",
    "free_backfill": "free backfill",
}
ABLATION = "psi-"
"""How methods begin that differ in the transform alone; they have a table of their own."""
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
    values = {name: _everywhere([record.metrics.get(name) for record in records]) for name in metrics}
    return Line(
        method,
        tuple(sorted({record.seed for record in records})),
        {name: spread for name, spread in rows.items() if spread is not None},
        {name: spread for name, spread in values.items() if spread is not None},
    )


def _everywhere(values: Sequence[float | None]) -> Spread | None:
    """Of a metric that every seed has; a share that some seeds leave undefined is undefined."""
    return None if any(value is None or not math.isfinite(value) for value in values) else Spread.of(values)


def is_plain(method: str) -> bool:
    """Whether a method is of the main table: its weight is its own, and it is no form of the transform."""
    return "@" not in method and not method.startswith(ABLATION)


def sweep(records: Sequence[BenchRecord]) -> dict[str, list[tuple[float, Line]]]:
    """Lines of methods with a weight in their name, by method, the weights rising.

    The method without a weight in its name is one of them, at the weight it has and on the seeds of the others.
    """
    weighted: dict[str, dict[float, list[BenchRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        match = WEIGHTED.fullmatch(record.method)
        if match:
            weighted[match["method"]][float(match["weight"])].append(record)
    named = {
        method: {record.seed for some in points.values() for record in some} for method, points in weighted.items()
    }
    own = [record for record in records if record.seed in named.get(record.method, ())]
    for record in own:
        weight = _own_weight(record)
        if weight is not None:
            weighted[record.method][weight].append(record)
    return {
        method: [(weight, _line(method, points[weight])) for weight in sorted(points)]
        for method, points in sorted(weighted.items())
        if len(points) > 1
    }


def _own_weight(record: BenchRecord) -> float | None:
    """The backward weight of the method a record is of."""
    method = record.config.get("method")
    new = method.get("new") if isinstance(method, dict) else None
    weight = new.get("backward_weight") if isinstance(new, dict) else None
    return float(weight) if isinstance(weight, int | float) else None


def baselines(found: Sequence[Line]) -> Line:
    """A line whose old and free new models are those of most seeds and methods; a stationary method has its own."""
    counts = Counter(line.rows["old"].mean for line in found)
    return max(found, key=lambda line: (len(line.seeds), counts[line.rows["old"].mean]))


def reference(found: Sequence[Line]) -> Line:
    """The line others are marked against: the best that re-embeds nothing."""
    return next((line for line in found if line.served != "merged"), found[0])


def marks(records: Sequence[BenchRecord], against: str) -> dict[str, str]:
    """`+` or `-` for each method of one scenario whose served mAP differs from another method's, else nothing.

    By the paired 95 % bootstrap interval over the queries of the seeds that both have. The variance between trainings
    is not in it, and no correction is made for many comparisons.
    """
    by_method: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)
    for record in records:
        by_method[record.method][record.seed] = served_precision(record)
    found = {}
    for method, scores in by_method.items():
        seeds = sorted({*scores} & {*by_method[against]})
        if seeds and method != against:
            both = {name: np.concatenate([by_method[name][seed] for seed in seeds]) for name in (method, against)}
            found[method] = significance_marks(both, against)[method]
    return found


def served_precision(record: BenchRecord) -> NDArray[np.float64]:
    """Average precision `(queries,)` of the row that serves new queries."""
    name = next(name for name in SERVED if name in record.average_precision)
    return np.array(record.average_precision[name], np.float64)


def served_share(line: Line) -> Spread | None:
    """The recovered share of the row that serves new queries."""
    return next((line.metrics[name] for name in SERVED.values() if name in line.metrics), None)
