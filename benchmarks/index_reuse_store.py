"""Ways to have an index of upgraded vectors in a LanceDB table, for benchmarks/index_reuse.py."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from index_reuse_ways import assigned, means
from index_reuse_world import Carry, Floats, K, World, clock, recall
from numpy.typing import NDArray

from bict.embeddings import arrow_to_vectors, normalise, vectors_to_arrow
from bict.gallery.stores.lance_index import build_index

STORED, QUERIES, ROWS_PER_FILE = "v2_cosine_bict", 500, 100_000
SAMPLE, ROUNDS = 64, 3
"""Items a list of which k-means knows, and its rounds."""


def in_the_store(
    world: World, new: Floats, psi: Carry, exact: NDArray[np.int64], repeats: int, settings: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Median seconds and mean recall of each way to index the upgraded column of a table whose old one is indexed."""
    columns = {"v1": vectors_to_arrow(world.old), "v2": vectors_to_arrow(new)}
    table = pa.table({"id": pa.array(np.arange(len(new))), **columns})
    with tempfile.TemporaryDirectory() as folder:
        data = lance.write_dataset(table, f"{folder}/table.lance", max_rows_per_file=ROWS_PER_FILE)
        build_index(data, "v1", "cosine")
        data.to_table(columns=["v2"])  # the first way finds the table in memory too
        queries, nearest, rounds = world.queries[:QUERIES], exact[:QUERIES], []
        for seed in range(repeats):
            ways = store_ways(data, psi, seed)
            rounds.append({way: stored_round(data, build, queries, nearest, settings) for way, build in ways.items()})
    results = []
    for way in rounds[0]:
        seconds, points = zip(*(one[way] for one in rounds), strict=True)
        means = [{name: float(np.mean([p[name] for p in at])) for name in at[0]} for at in zip(*points, strict=True)]
        results.append({"way": way, "seconds": statistics.median(seconds), "all_seconds": seconds, "points": means})
    return results


def store_ways(data: lance.LanceDataset, psi: Carry, seed: int) -> dict[str, Callable[[], object]]:
    """Each way to build the index of the upgraded column, with all that it takes; k-means is as long wherever it is."""
    rng = np.random.default_rng(seed)

    def carried() -> Floats:
        return psi(normalise(arrow_to_vectors(data.centroids(index_name="v1_cosine_bict"))))

    def settled(start: Floats | None) -> Floats:
        lists = round(data.count_rows() ** 0.5)
        rows = rng.choice(data.count_rows(), min(data.count_rows(), SAMPLE * lists), replace=False)
        sample = arrow_to_vectors(data.take(np.sort(rows), columns=["v2"])["v2"])
        centroids = sample[rng.choice(len(sample), lists, replace=False)] if start is None else start
        for _ in range(ROUNDS):
            centroids = means(sample, assigned(sample, centroids), len(centroids))
        return centroids

    def given(centroids: Floats) -> None:
        options = {"ivf_centroids": centroids, "num_partitions": len(centroids)}
        data.create_index("v2", "IVF_FLAT", STORED, metric="cosine", replace=True, **options)

    return {
        "built anew": lambda: build_index(data, "v2", "cosine"),
        "centroids carried": lambda: given(carried()),
        "centroids carried, k-means": lambda: given(settled(carried())),
        "no old index, k-means": lambda: given(settled(None)),
    }


def stored_round(
    data: lance.LanceDataset,
    build: Callable[[], object],
    queries: Floats,
    exact: NDArray[np.int64],
    settings: tuple[int, ...],
) -> tuple[float, list[dict[str, float]]]:
    """Seconds to build an index, and recall, vectors looked at and queries a second at each setting."""
    seconds, _ = clock(build)
    points = []
    centroids = arrow_to_vectors(data.centroids(index_name=STORED))
    sizes = np.array([part["size"] for part in data.stats.index_stats(STORED)["indices"][0]["partitions"]])
    order = np.argsort((centroids**2).sum(1) - 2 * queries @ centroids.T, axis=1)
    for probes in settings:
        near = [{"column": "v2", "q": query, "k": K, "nprobes": probes} for query in queries]
        taken, found = clock(lambda: [data.to_table(columns=["id", "_distance"], nearest=one) for one in near])  # noqa: B023
        rows = [one["id"].to_numpy() for one in found]
        looked_at = float(sizes[order[:, :probes]].sum(1).mean())
        speed = {"looked_at": looked_at, "queries_per_second": len(queries) / taken}
        points.append({"nprobe": probes, "recall": recall(rows, exact), **speed})
    return seconds, points
