"""Times exact ranking against a sort of every row, pytorch-metric-learning and torchmetrics, on the same arrays.

    python benchmarks/ranking_speed.py --json benchmarks/records/ranking_speed.json

All ways compute the mAP over the whole gallery, where no row is its own match; the script fails if they disagree. Both
libraries are given 1,000 queries at a time, for all pairs at once take them more than 10 GB; the mean is over all.

Then bict alone ranks a gallery of a million rows, which lies in a file and is memory-mapped: the seconds, and the most
memory that was allocated on top of the vectors.
"""

from __future__ import annotations

import json
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_info

from bict.embeddings import Embeddings, normalise
from bict.evaluation import average_precision, mean, positive_ranks, recall_at
from bict.spaces import Space

try:
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN
    from torchmetrics.retrieval import RetrievalMAP
except ImportError as error:
    raise SystemExit(f"{error.name} is not installed, and bict is compared with it: pip install '.[dev]'") from None

AGREEMENT = 1e-4
BLOCK = 1000
MEMORY_MB = 256


def ours(query: Embeddings, gallery: Embeddings) -> float:
    return mean(average_precision(positive_ranks(query, gallery, memory_mb=MEMORY_MB)))


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
    sides = (gallery.vectors, gallery.labels.astype(int))
    return mean_of_blocks(
        query, lambda vectors, labels: float(calculator.get_accuracy(vectors, labels, *sides)[measure])
    )


def torch_metrics(query: Embeddings, gallery: Embeddings) -> float:
    """`RetrievalMAP` of 1 + similarity, for it takes no row with a score of 0 or less as relevant."""
    rows, classes = torch.from_numpy(gallery.vectors), torch.from_numpy(gallery.labels.astype(int))

    def of(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        scores = 1 + torch.from_numpy(vectors) @ rows.T
        relevant = torch.from_numpy(labels)[:, None] == classes
        owners = torch.arange(len(vectors))[:, None].expand_as(scores)
        metric = RetrievalMAP(empty_target_action="skip")
        metric.update(scores, relevant, owners)
        return float(metric.compute())

    return mean_of_blocks(query, of)


def mean_of_blocks(query: Embeddings, of: Callable[[NDArray[np.float32], NDArray[np.int64]], float]) -> float:
    """The mean over all queries, from the means of blocks; every query has a relevant row."""
    labels = query.labels.astype(int)
    starts = range(0, len(query), BLOCK)
    means = [of(query.vectors[start : start + BLOCK], labels[start : start + BLOCK]) for start in starts]
    return float(np.average(means, weights=[min(BLOCK, len(query) - start) for start in starts]))


WAYS = {
    "bict": ours,
    "argsort per query": naive,
    "pytorch-metric-learning": metric_learning,
    "torchmetrics": torch_metrics,
}


def synthetic(
    queries: int, rows: int, dim: int, classes: int, seed: int, file: Path | None = None
) -> tuple[Embeddings, Embeddings]:
    """Noisy class centres, so that relevant rows come early but not first; the gallery in a file where it is given."""
    rng = np.random.default_rng(seed)
    space = Space(name="synthetic", fingerprint="0" * 16, dim=dim)
    centres = rng.standard_normal((classes, dim), np.float32)
    sides = []
    for first, size, place in ((rows, queries, None), (0, rows, file)):
        labels = np.arange(size) % classes
        shape = (size, dim)
        vectors = np.lib.format.open_memmap(place, "w+", np.float32, shape) if place else np.empty(shape, np.float32)
        for start in range(0, size, BLOCK):
            centre = centres[labels[start : start + BLOCK]]
            vectors[start : start + BLOCK] = normalise(centre + 2 * rng.standard_normal(centre.shape, np.float32))
        if place:
            vectors.flush()
            vectors = np.load(place, mmap_mode="r")
        sides.append(Embeddings(np.arange(first, first + size), vectors, space, labels))
    return sides[0], sides[1]


def best_of(repeats: int, way: Callable[[], float]) -> tuple[float, float]:
    """The least seconds of some runs, and the value."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = way()
        seconds.append(time.perf_counter() - start)
    return min(seconds), value


def compared(sizes: dict[str, int], repeats: int, slow_repeats: int, seed: int) -> dict[str, Any]:
    query, gallery = synthetic(**sizes, seed=seed)
    seconds, maps = {}, {}
    for name, way in WAYS.items():
        runs = repeats if way is ours else slow_repeats
        seconds[name], maps[name] = best_of(runs, lambda way=way: way(query, gallery))
    return {
        "rows": sizes,
        "repeats": {"bict": repeats, "others": slow_repeats},
        "queries_at_a_time": {"pytorch-metric-learning": BLOCK, "torchmetrics": BLOCK},
        "seconds": seconds,
        "ratios": {name: taken / seconds["bict"] for name, taken in seconds.items()},
        "map": maps,
    }


def alone(sizes: dict[str, int], seed: int) -> dict[str, Any]:
    """A large gallery: what is allocated while it is ranked, by `tracemalloc`, which a memory-mapped file escapes."""
    with TemporaryDirectory() as folder:
        query, gallery = synthetic(**sizes, seed=seed, file=Path(folder) / "gallery.npy")
        tracemalloc.start()
        start = time.perf_counter()
        ranks = positive_ranks(query, gallery, memory_mb=MEMORY_MB)
        scores = {
            "map": mean(average_precision(ranks)),
            "recall@1": mean(recall_at(ranks, 1)),
            "recall@10": mean(recall_at(ranks, 10)),
        }
        seconds = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        return {
            "rows": sizes,
            "seconds": seconds,
            "peak_mib": peak,
            "memory_mb": MEMORY_MB,
            "vectors_mib": gallery.vectors.nbytes / 2**20,
            "scores": scores,
        }


def show(beside: dict[str, Any], large: dict[str, Any]) -> None:
    title = "{queries:,} queries x {rows:,} gallery rows, {dim}-d"
    table = Table("way", "seconds", "times bict", "mAP", title=title.format(**beside["rows"]))
    for name, taken in beside["seconds"].items():
        table.add_row(name, f"{taken:.3f}", f"{beside['ratios'][name]:.2f}", f"{beside['map'][name]:.6f}")
    Console().print(table)
    table = Table("way", "seconds", "MiB on top", "vectors, MiB", *large["scores"], title=title.format(**large["rows"]))
    figures = (f"{large[key]:,.1f}" for key in ("seconds", "peak_mib", "vectors_mib"))
    table.add_row("bict", *figures, *(f"{score:.4f}" for score in large["scores"].values()))
    Console().print(table)


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(
    *,
    queries: Annotated[int, typer.Option(help="Query rows.")] = 13_000,
    gallery: Annotated[int, typer.Option(help="Gallery rows.")] = 13_000,
    dim: Annotated[int, typer.Option(help="Dimension.")] = 128,
    classes: Annotated[int, typer.Option(help="Classes, spread evenly over both sides.")] = 650,
    large: Annotated[tuple[int, int, int, int], typer.Option(help="The same four of the large gallery.")] = (
        1_000,
        1_000_000,
        256,
        10_000,
    ),
    repeats: Annotated[int, typer.Option(help="Runs of bict; the fastest counts.")] = 3,
    slow_repeats: Annotated[int, typer.Option(help="Runs of the other ways; the fastest counts.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the vectors.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
) -> None:
    names = ("queries", "rows", "dim", "classes")
    record = {
        "benchmark": "ranking_speed",
        "command": " ".join(["python", "benchmarks/ranking_speed.py", *sys.argv[1:]]),
        "seed": seed,
        "beside": compared(
            dict(zip(names, (queries, gallery, dim, classes), strict=True)), repeats, slow_repeats, seed
        ),
        "large": alone(dict(zip(names, large, strict=True)), seed),
        "threads": {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()},
        "versions": {
            name: installed(name) for name in ("bict", "numpy", "torch", "pytorch-metric-learning", "torchmetrics")
        }
        | {"python": platform.python_version()},
    }
    show(record["beside"], record["large"])
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")
    maps = record["beside"]["map"].values()
    if max(maps) - min(maps) > AGREEMENT:
        raise SystemExit("the ways disagree on the mAP")


if __name__ == "__main__":
    typer.run(main)
