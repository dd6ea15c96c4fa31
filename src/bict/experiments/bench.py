"""One method in one scenario: what serves which query, and how well."""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bict.data import ImageSet
from bict.errors import SettingsError
from bict.evaluation import (
    PairResult,
    Score,
    compatibility_tax,
    flip_rates,
    p_1,
    p_comp,
    p_up,
    recovered_share,
    relative_compatibility_tax,
    update_gain,
)
from bict.experiments.methods import Method, find_method
from bict.experiments.scenarios import ScenarioPlan, find_scenario, plan_scenario
from bict.experiments.sequential import Chain
from bict.experiments.serving import Serving
from bict.experiments.workshop import Workshop
from bict.progress import Steps, silent_steps
from bict.reports.bench import BenchRecord, load_bench_record, save_bench_record
from bict.reports.bench_table import SERVED
from bict.reports.record import Pairing
from bict.training.train import describe_images

PROTOCOL = 1
"""Raised with every change that gives the same settings other figures; records of another one are made again."""
KEYS = ("map", "recall@1", "recall@10")
PACKAGES = ("bict", "torch", "timm", "pytorch-metric-learning", "accelerate", "numpy")
Outcome = tuple[dict[str, PairResult], dict[str, float | None], dict[str, str]]
SHARES = {**SERVED, "blended": "blended_share", "fused": "fused_share"}
"""Rows that answer new queries, and their recovered shares."""


def require_fitting(name: str, scenario: str) -> None:
    """Refuse a method that would change what the scenario is about, or that the scenario cannot run.

    Raises:
        SettingsError: naming both.
    """
    method, about = find_method(name), find_scenario(scenario)
    changed = {*method.old} & {*about.old} | {*method.new, *method.free} & {*about.new}
    if changed:
        raise SettingsError(f"method {name} sets {', '.join(sorted(changed))} itself, which {scenario} is about")
    alone = method.rung or method.old or method.target
    if scenario == "sequential" and (method.family != "backward" or alone):
        raise SettingsError(f"{scenario} compares backward methods that share one old model, which {name} is not")


def record_path(out: Path, data: str, scenario: str, method: str, seed: int) -> Path:
    """Where a record lies."""
    return out / Path(data).name / scenario / f"{method}-{seed}.json"


def run_method(
    name: str,
    scenario: str,
    images: ImageSet,
    out: Path,
    *,
    seed: int = 0,
    quick: bool = False,
    steps: Steps = silent_steps,
    command: str = "",
) -> BenchRecord:
    """Train, embed and fit what the method needs, and evaluate; a record of the same configuration is read instead.

    Raises:
        UnknownName: no such scenario or method.
        BictError: the data or the directory cannot be used, or a step refused.
    """
    plan, method = plan_scenario(scenario, images, seed=seed, quick=quick), find_method(name)
    require_fitting(name, scenario)
    path = record_path(out / ("quick" if quick else "records"), images.name, scenario, name, seed)
    config = {"protocol": PROTOCOL, "images": describe_images(images), "plan": plan.dump(), "method": method.dump()}
    if path.exists() and (found := load_bench_record(path)).config == config:
        return found
    began = time.perf_counter()
    workshop = Workshop(images, plan, out / "models", steps)
    pairs, metrics, reasons = (_sequential if scenario == "sequential" else _upgrade)(workshop, plan, method)
    record = BenchRecord(
        command=command,
        method=name,
        scenario=scenario,
        data=images.name,
        seed=seed,
        quick=quick,
        rows=[_row(pair) for pair in pairs.values()],
        metrics=metrics,
        reasons=reasons,
        average_precision={
            key: np.round(pairs[key].per_query["map"], 4).tolist() for key in ("old", *SERVED) if key in pairs
        },
        seconds=round(time.perf_counter() - began, 1),
        versions={"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        config=config,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_bench_record(record, path)
    return record


def _upgrade(workshop: Workshop, plan: ScenarioPlan, method: Method) -> Outcome:
    serving = Serving(workshop, plan, method)
    pairs = {pair.name: pair for pair in serving.pairs()}
    metrics, reasons = measure(pairs)
    return pairs, metrics | serving.metrics, reasons


def _sequential(workshop: Workshop, plan: ScenarioPlan, method: Method) -> Outcome:
    chain = Chain(workshop, plan, method)
    pairs = {pair.name: pair for pair in chain.pairs()}
    matrix = chain.matrix()
    values = {
        "average_compatibility": matrix.average_compatibility(ties="failure"),
        "average_score": Score(matrix.average_score()),
        "backward_compatibility": matrix.backward_compatibility(),
        "forward_compatibility": matrix.forward_compatibility(),
    }
    reasons = {name: value.reason for name, value in values.items() if value.reason}
    return pairs, {name: value.value for name, value in values.items()}, reasons


def measure(pairs: dict[str, PairResult]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Metrics of the rows there are, and why one has no value."""
    score = {name: pair.scores["map"] for name, pair in pairs.items()}
    old, oracle = score["old"], score["free_backfill"]
    values: dict[str, Score] = {}
    for row, name in SHARES.items():
        if row in score:
            values[name] = recovered_share(score[row], old, oracle)
    if "backward" in score:
        values["update_gain"] = update_gain(score["backward"], old, oracle)
        values["p_comp"] = p_comp([score["backward"]], [old], [oracle])
    if "backfill" in score:
        values["compatibility_tax"] = compatibility_tax(score["backfill"], oracle)
        values["relative_compatibility_tax"] = relative_compatibility_tax(score["backfill"], oracle)
        values["p_up"] = p_up([score["backfill"]], [oracle])
        values["p_1"] = p_1(values["p_up"].value, values["p_comp"].value)
    metrics: dict[str, float | None] = {name: value.value for name, value in values.items()}
    reasons = {name: value.reason for name, value in values.items() if value.reason}
    served = next(name for name in SERVED if name in pairs)
    flips = flip_rates(pairs["old"].per_query["recall@1"], pairs[served].per_query["recall@1"])
    metrics |= {
        "negative_flip_rate": flips.negative,
        "positive_flip_rate": flips.positive,
        "relative_negative_flip_rate": flips.relative_negative,
    }
    return metrics, reasons


def _row(pair: PairResult) -> Pairing:
    values: dict[str, Any] = {key: pair.scores[key] for key in KEYS}
    values |= {f"{key}_interval": pair.intervals[key] for key in KEYS}
    return Pairing.model_validate({"name": pair.name, "query": pair.query, "gallery": pair.gallery, **values})
