"""Times exact ranking against a sort of every row, and against pytorch-metric-learning, on the same arrays.

    python benchmarks/ranking_speed.py --json benchmarks/records/ranking_speed.json

All ways compute the mAP over the whole gallery, where no row is its own match; the script fails if they disagree.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_info

from bict.embeddings import Embeddings, normalise
from bict.evaluation import average_precision, mean, positive_ranks
from bict.spaces import Space

try:
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN
except ImportError:
    AccuracyCalculator = None

AGREEMENT = 1e-6


def ours(query: Embeddings, gallery: Embeddings) -> float:
    return mean(average_precision(positive_ranks(query, gallery)))


def naive(query: Embeddings, gallery: Embeddings) -> float:
    """Sort the similarities of one query after the other, and walk down the relevant rows."""
    similarity = query.vectors @ gallery.vectors.T
    query_labels, gallery_labels = query.labels.astype(int), gallery.labels.astype(int)
    scores = []
    for row, label in zip(similarity, query_labels, strict=True):
        ranks = np.flatnonzero(gallery_labels[np.argsort(-row, kind="stable")] == label) + 1
        scores.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(scores))


def metric_learning(query: Embeddings, gallery: Embeddings) -> float:
    """`AccuracyCalculator` with its torch search, over the whole gallery."""
    measure = "mean_average_precision"
    search = CustomKNN(CosineSimilarity())
    calculator = AccuracyCalculator(include=(measure,), device=torch.device("cpu"), knn_func=search)
    sides = (query.vectors, query.labels.astype(int), gallery.vectors, gallery.labels.astype(int))
    return float(calculator.get_accuracy(*sides)[measure])


def synthetic(queries: int, rows: int, dim: int, classes: int, seed: int) -> tuple[Embeddings, Embeddings]:
    """Noisy class centres, so that relevant rows come early but not first."""
    rng = np.random.default_rng(seed)
    space = Space(name="synthetic", fingerprint="0" * 16, dim=dim)
    centres = rng.standard_normal((classes, dim))
    sides = []
    for first, size in ((rows, queries), (0, rows)):
        labels = np.arange(size) % classes
        vectors = centres[labels] + 2 * rng.standard_normal((size, dim))
        sides.append(Embeddings(np.arange(first, first + size), normalise(vectors.astype(np.float32)), space, labels))
    return sides[0], sides[1]


def best_of(repeats: int, way: Callable[[], float]) -> tuple[float, float]:
    """The least seconds of some runs, and the value."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = way()
        seconds.append(time.perf_counter() - start)
    return min(seconds), value


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(
    *,
    queries: Annotated[int, typer.Option(help="Query rows.")] = 1318,
    gallery: Annotated[int, typer.Option(help="Gallery rows.")] = 11862,
    dim: Annotated[int, typer.Option(help="Dimension.")] = 128,
    classes: Annotated[int, typer.Option(help="Classes, spread evenly over both sides.")] = 659,
    repeats: Annotated[int, typer.Option(help="Runs of each way; the fastest counts.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the vectors.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
) -> None:
    ways = {"bict": ours, "argsort per query": naive}
    versions = {name: installed(name) for name in ("bict", "numpy", "torch", "pytorch-metric-learning")}
    if AccuracyCalculator is not None:
        ways["pytorch-metric-learning"] = metric_learning
    query, rows = synthetic(queries, gallery, dim, classes, seed)
    results = {name: best_of(repeats, lambda way=way: way(query, rows)) for name, way in ways.items()}
    seconds = {name: result[0] for name, result in results.items()}
    maps = {name: result[1] for name, result in results.items()}
    record = {
        "benchmark": "ranking_speed",
        "command": " ".join(["python", "benchmarks/ranking_speed.py", *sys.argv[1:]]),
        "rows": {"queries": queries, "gallery": gallery, "dim": dim, "classes": classes},
        "repeats": repeats,
        "seed": seed,
        "seconds": seconds,
        "ratios": {name: taken / seconds["bict"] for name, taken in seconds.items()},
        "map": maps,
        "threads": {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()},
        "versions": versions | {"python": platform.python_version()},
    }
    table = Table(
        "way", "seconds", "times bict", "mAP", title=f"{queries:,} queries x {gallery:,} gallery rows, {dim}-d"
    )
    for name in ways:
        table.add_row(name, f"{seconds[name]:.3f}", f"{record['ratios'][name]:.2f}", f"{maps[name]:.6f}")
    Console().print(table)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")
    if max(maps.values()) - min(maps.values()) > AGREEMENT:
        raise SystemExit("the ways disagree on the mAP")


if __name__ == "__main__":
    typer.run(main)
