"""Sets `bict assess` beside isotrieve, whose gate also says before a migration whether to go ahead, on the same arrays.

    pip install -e '.[peers]'
    python benchmarks/assess_peer.py --photos PHOTOS --json benchmarks/records/assess_peer.json

The cases are those of assess_cases.py, whose right verdicts are known. isotrieve is used as its command line does:
`RidgeMapping(alpha="auto")`, and `QualityGate` on a sample apart from the calibration. Of the pairs that bict fits and
chooses on it gets four fifths to calibrate and one, drawn at random, for the gate; then its mapping is fitted again on
all of them, as bict's is, and judged by the same queries on the same gallery: mAP, query = new vectors, gallery =
mapped old ones. Seconds are those of `assess_pairs`, and of one calibration with its gate.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from assess_cases import CASES, PHOTO_CASES, draw_classes, paired, photo_pairs
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bict.assessment.assess import assess_pairs
from bict.assessment.candidates import BACKFILL, OLD
from bict.assessment.fit import with_classes
from bict.assessment.pairing import PairedVectors
from bict.assessment.trial import Trial
from bict.embeddings import Embeddings
from bict.progress import silent_steps
from bict.reports.assessment import Estimate
from bict.runs import write_json

try:
    from isotrieve import RidgeMapping
    from isotrieve.quality.gate import GateReport, QualityGate
except ImportError:
    raise SystemExit("isotrieve is not installed, and bict is compared with it: pip install -e '.[peers]'") from None

TOOLS = ("bict", "isotrieve")
GATE_SHARE = 0.2


def cases(options: argparse.Namespace) -> Iterator[tuple[str, int, PairedVectors, tuple[str, ...]]]:
    for name, make in CASES.items():
        for seed in options.seeds:
            case = make(seed)
            yield name, seed, paired(case), case.right
    for name, (sizes, right) in PHOTO_CASES.items() if options.photos else ():
        pairs = photo_pairs(options.photos, options.out, sizes)
        yield from ((name, seed, draw_classes(pairs, seed), right) for seed in options.seeds)


def line(name: str, seed: int, pairs: PairedVectors, right: tuple[str, ...]) -> dict[str, Any]:
    """What both say of a case, and what comes of what they propose."""
    pairs = with_classes(pairs)
    trial = Trial.of(pairs, None, seed=seed, steps=silent_steps)
    scores = {way.name: trial.judging.score(*trial.judging.sides.serve(way, None))["map"] for way in (OLD, BACKFILL)}
    return {
        **{"case": name, "seed": seed, "right": list(right), "pairs": len(pairs.ids)},
        **{f"{way}_map": round(trial.judging.bootstrap.mean(found).value, 4) for way, found in scores.items()},
        "bict": ours(pairs, seed, right),
        "isotrieve": theirs(pairs, trial, scores["old"], seed),
    }


def ours(pairs: PairedVectors, seed: int, right: tuple[str, ...]) -> dict[str, Any]:
    began = time.perf_counter(), time.process_time()
    found = assess_pairs(pairs, seed=seed)
    spent = seconds(began)
    decision, lines = found.decision, {one.name: one for one in found.candidates}
    best = max((one for one in lines.values() if one.kind == "upgrade" and one.map), key=lambda one: one.choice)
    return {
        **{"verdict": decision.verdict, "correct": decision.verdict in right, "chosen": decision.chosen},
        **{"chosen_map": round(lines[decision.chosen].map.value, 4), "rung": best.name},
        **estimates(best.map, best.gain),
        **spent,
    }


def estimates(level: Estimate, gain: Estimate) -> dict[str, Any]:
    """mAP, and the gain over old vectors with its 95 % interval."""
    interval = [round(end, 4) for end in gain.interval]
    return {"map": round(level.value, 4), "gain": round(gain.value, 4), "gain_interval": interval}


def seconds(began: tuple[float, float]) -> dict[str, float]:
    """Seconds since then, and those of the processor, of all threads."""
    ended = time.perf_counter(), time.process_time()
    return {name: round(ended[at] - began[at], 2) for at, name in enumerate(("seconds", "cpu_seconds"))}


def theirs(pairs: PairedVectors, trial: Trial, old: NDArray[np.float64], seed: int) -> dict[str, Any]:
    kept = np.union1d(trial.parts.fit, trial.parts.choose)
    order = np.random.default_rng(seed).permutation(kept)
    number = round(GATE_SHARE * len(kept))
    sample, calibration = np.sort(order[:number]), np.sort(order[number:])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        began = time.perf_counter(), time.process_time()
        mapping = RidgeMapping(alpha="auto", seed=seed).fit(pairs.old[calibration], pairs.new[calibration])
        report = QualityGate().evaluate(mapping, pairs.old[sample], pairs.new[sample])
        spent = seconds(began)
        mapping = RidgeMapping(alpha="auto", seed=seed).fit(pairs.old[kept], pairs.new[kept])
    sides = trial.judging.sides
    stored = mapping.transform(sides.gallery.old.vectors).astype(np.float32)
    upgraded = Embeddings(sides.gallery.new.ids, stored, pairs.new_space, sides.gallery.new.labels)
    found = trial.judging.score(sides.query.new, upgraded)["map"]
    judged = estimates(trial.judging.bootstrap.mean(found), trial.judging.bootstrap.mean(found - old))
    return {
        **{"gate": report.verdict.value, "prediction_alone": by_prediction(report)},
        **{"predicted_retention": round(report.predicted_retention, 4)},
        **{"prediction_interval": [round(end, 4) for end in report.prediction_interval]},
        **{"top1_retention": round(report.top1_retention, 4), "margin_compression": report.margin_compression},
        **{"calibration": len(calibration), "sample": len(sample), "mapping": mapping.mapping_type},
        **judged,
        **{"gained": judged["gain_interval"][0] > 0, **spent},
        "warnings": sorted({str(one.message).split(". ")[0] for one in said}),
    }


def by_prediction(report: GateReport) -> str:
    """What the gate would answer by its predicted retention alone; its own answer asks the interval around it."""
    found, bounds = report.predicted_retention, report.thresholds_used
    return "PASS" if found >= bounds["pass_retention"] else "WARN" if found >= bounds["warn_retention"] else "FAIL"


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """How often bict's verdict is right; and of each answer of the gate, how often its mapping gains over old."""
    answers: dict[str, dict[str, dict[str, int]]] = {"gate": {}, "prediction_alone": {}}
    for kind, counts in answers.items():
        for one in lines:
            found = counts.setdefault(one["isotrieve"][kind], {"cases": 0, "mapping_gains": 0, "upgrade_is_right": 0})
            found["cases"] += 1
            found["mapping_gains"] += one["isotrieve"]["gained"]
            found["upgrade_is_right"] += "upgrade" in one["right"]
    return {
        **{"cases": len(lines), "bict_correct": sum(one["bict"]["correct"] for one in lines), **answers},
        **{f"{tool}_seconds": round(sum(one[tool]["seconds"] for one in lines), 1) for tool in TOOLS},
        "bict_map_higher": sum(one["bict"]["map"] > one["isotrieve"]["map"] for one in lines),
    }


def show(lines: list[dict[str, Any]]) -> None:
    names = ("case", "right", "old", "new", "verdict", "chosen", "mAP", "rung", "mAP", "s", "gate", "mAP", "gain", "s")
    table = Table(*names, box=None)
    for one in lines:
        mine, other = one["bict"], one["isotrieve"]
        table.add_row(
            *(f"{one['case']} ({one['seed']})", "/".join(one["right"]), f"{one['old_map']:.3f}"),
            *(f"{one['backfill_map']:.3f}", mine["verdict"], mine["chosen"], f"{mine['chosen_map']:.3f}"),
            *(mine["rung"], f"{mine['map']:.3f}", f"{mine['seconds']:.1f}"),
            *(other["gate"], f"{other['map']:.3f}", f"{other['gain']:+.3f}", f"{other['seconds']:.1f}"),
        )
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder with one folder per class")
    parser.add_argument("--out", type=Path, default=Path("runs/assess-cases"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    before = os.getloadavg()
    lines = [line(*case) for case in cases(options)]
    show(lines)
    found = summary(lines)
    Console().print(found)
    if options.json:
        record = {
            "benchmark": "assess_peer",
            "command": "python benchmarks/assess_peer.py" + (" --photos PHOTOS" if options.photos else ""),
            "seeds": options.seeds,
            "summary": found,
            "cases": lines,
            "load": {"before": before, "after": os.getloadavg(), "cores": os.cpu_count()},
            "versions": {name: version(name) for name in ("bict", "isotrieve", "scikit-learn", "numpy", "torch")},
        }
        write_json(options.json, record)


if __name__ == "__main__":
    main()
