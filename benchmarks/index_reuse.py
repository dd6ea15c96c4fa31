"""How much recall an index of the old vectors keeps when its vectors are replaced by upgraded ones, and in what time.

    python benchmarks/index_reuse.py --rows 1000000 --json benchmarks/records/index_reuse.json

Two models see items of many classes through networks of their own; transforms are fitted on pairs and carry all old
vectors over. Then each index is searched with new queries, and its ten nearest are compared with the exact ones:

- inverted lists (IVF, flat): built anew; lists as they were, with centroids carried over by the transform, or with the
  means of their members; the same, after every item chose again among the lists around its own; carried centroids and
  every item assigned anew, which leaves out only the clustering;
- a graph (HNSW): built anew, or the old graph with new vectors in its nodes.

`pip install faiss-cpu`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bict.embeddings import normalise
from bict.runs import write_json
from bict.transforms import Pairs, build_rung

Floats = NDArray[np.float32]
Carry = Callable[[Floats], Floats]
LATENT, PER_CLASS, PAIRS, K = 32, 100, 20_000, 10
RUNGS = ("procrustes", "ridge", "mlp")
PROBES, EFFORTS = (1, 4, 16, 64), (16, 32, 64, 128)
AROUND = 16
"""Lists around its own among which an item chooses again."""
LINKS, BUILD_EFFORT = 16, 80
"""Links of a graph node, and candidates looked at while it is built."""


@dataclass(frozen=True)
class World:
    """Old vectors of a gallery, pairs to fit on, and new queries; all of unit length."""

    old: Floats
    pairs: Pairs
    queries: Floats


def draw(rows: int, queries: int, dim: int, seed: int) -> World:
    """Items around class centres, seen through two random networks, the old one with more noise."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, rows // PER_CLASS), LATENT)).astype(np.float32)
    networks = [(rng.standard_normal((LATENT, 4 * dim)), rng.standard_normal((4 * dim, dim))) for _ in range(2)]

    def see(items: Floats, side: int, noise: float) -> Floats:
        inner, outer = (matrix.astype(np.float32) for matrix in networks[side])
        seen = np.empty((len(items), dim), np.float32)
        for start in range(0, len(items), 16_384):
            part = slice(start, start + 16_384)
            values = np.tanh(items[part] @ inner / LATENT**0.5) @ outer / (4 * dim) ** 0.5
            seen[part] = normalise(values + noise * rng.standard_normal(values.shape, np.float32))
        return seen

    def items(count: int) -> Floats:
        spread = rng.standard_normal((count, LATENT), np.float32)
        return centres[rng.integers(len(centres), size=count)] + np.float32(0.6) * spread

    shared = items(PAIRS)
    pairs = Pairs(see(shared, 0, 0.3)[None], see(shared, 1, 0.1)[None])
    return World(see(items(rows), 0, 0.3), pairs, see(items(queries), 1, 0.1))


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def upgraded(world: World, rung: str, seed: int) -> Carry:
    """The fitted transform, in blocks, to unit vectors."""
    psi = build_rung(rung, seed=seed).fit(world.pairs)

    def apply(old: Floats) -> Floats:
        return np.concatenate([normalise(psi.transform(old[at : at + 8192])) for at in range(0, len(old), 8192)])

    return apply


# --- inverted lists --------------------------------------------------------------------------------------------------


def clustered(vectors: Floats, lists: int, seed: int) -> Floats:
    """Centroids `(lists, dim)` by spherical k-means on a sample of 64 items a list."""
    kmeans = faiss.Kmeans(vectors.shape[1], lists, niter=10, seed=seed, spherical=True, max_points_per_centroid=64)
    kmeans.train(vectors)
    return np.asarray(kmeans.centroids)


def assigned(vectors: Floats, centroids: Floats) -> NDArray[np.int64]:
    """The nearest list of every item, `(rows,)`."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(centroids)
    return np.asarray(flat.search(vectors, 1)[1][:, 0])


def means(vectors: Floats, lists: NDArray[np.int64], count: int) -> Floats:
    """The mean of each list's members, of unit length; `(lists, dim)`."""
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    for start in range(0, len(vectors), 65_536):
        np.add.at(sums, lists[start : start + 65_536], vectors[start : start + 65_536])
    return normalise(sums + np.float32(1e-9))


def chosen_again(vectors: Floats, lists: NDArray[np.int64], centroids: Floats) -> NDArray[np.int64]:
    """The nearest of the lists around its own for every item, list by list; `(rows,)`."""
    near = np.argsort(-(centroids @ centroids.T), axis=1)[:, :AROUND]
    order = np.argsort(lists, kind="stable")
    bounds = np.searchsorted(lists[order], np.arange(len(centroids) + 1))
    found = lists.copy()
    for number in range(len(centroids)):
        members = order[bounds[number] : bounds[number + 1]]
        if len(members):
            found[members] = near[number][np.argmax(vectors[members] @ centroids[near[number]].T, axis=1)]
    return found


def inverted(vectors: Floats, centroids: Floats, lists: NDArray[np.int64]) -> faiss.IndexIVFFlat:
    """An index of these lists."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(centroids)
    index = faiss.IndexIVFFlat(flat, vectors.shape[1], len(centroids), faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    lists = np.ascontiguousarray(lists, np.int64)
    index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(lists))
    return index


def list_ways(
    old_lists: NDArray[np.int64], old_centroids: Floats, new: Floats, psi: Carry, seed: int
) -> dict[str, Any]:
    """Seconds and index of each way to have inverted lists of the upgraded vectors."""
    count = len(old_centroids)

    def anew() -> faiss.IndexIVFFlat:
        centroids = clustered(new, count, seed)
        return inverted(new, centroids, assigned(new, centroids))

    def carried() -> faiss.IndexIVFFlat:
        return inverted(new, psi(old_centroids), old_lists)

    def mean() -> faiss.IndexIVFFlat:
        return inverted(new, means(new, old_lists, count), old_lists)

    def again() -> faiss.IndexIVFFlat:
        centroids = means(new, old_lists, count)
        return inverted(new, centroids, chosen_again(new, old_lists, centroids))

    def unclustered() -> faiss.IndexIVFFlat:
        centroids = psi(old_centroids)
        return inverted(new, centroids, assigned(new, centroids))

    return {
        "built anew": clock(anew),
        "lists kept, centroids carried": clock(carried),
        "lists kept, centroids are means": clock(mean),
        "chosen again around, means": clock(again),
        "all assigned, centroids carried": clock(unclustered),
    }


# --- graph -----------------------------------------------------------------------------------------------------------


def graph(vectors: Floats) -> faiss.IndexHNSWFlat:
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    index.add(vectors)
    return index


def replace_nodes(index: faiss.IndexHNSWFlat, vectors: Floats) -> None:
    """Other vectors in the nodes of a graph, whose links stay."""
    storage = faiss.downcast_index(index.storage)
    faiss.copy_array_to_vector(np.ascontiguousarray(vectors).view(np.uint8).ravel(), storage.codes)


# --- measure ---------------------------------------------------------------------------------------------------------


def recall(found: NDArray[np.int64], exact: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.intersect1d(one, other)) / K for one, other in zip(found, exact, strict=True)]))


def searched(
    index: faiss.Index, queries: Floats, exact: NDArray[np.int64], name: str, settings: tuple[int, ...]
) -> list[dict[str, float]]:
    """Recall and queries a second at each setting."""
    found = []
    for value in settings:
        if name == "nprobe":
            index.nprobe = value
        else:
            index.hnsw.efSearch = value
        seconds, (_, rows) = clock(lambda: index.search(queries, K))
        found.append({name: value, "recall": recall(rows, exact), "queries_per_second": len(queries) / seconds})
    return found


def measure(options: argparse.Namespace, show: Callable[[str], None]) -> list[dict[str, Any]]:
    world = draw(options.rows, options.queries, options.dim, options.seed)
    lists = options.lists or int(2 * options.rows**0.5)
    show(f"cluster {options.rows:,} old vectors into {lists:,} lists")
    old_centroids = clustered(world.old, lists, options.seed)
    old_lists = assigned(world.old, old_centroids)
    old_graph = None
    if options.graph:
        show("build the old graph")
        old_graph = graph(world.old)
    results = []
    for rung in RUNGS:
        show(f"upgrade by {rung}")
        psi = upgraded(world, rung, options.seed)
        new = psi(world.old)
        flat = faiss.IndexFlatIP(options.dim)
        flat.add(new)
        exact = flat.search(world.queries, K)[1]
        for way, (seconds, index) in list_ways(old_lists, old_centroids, new, psi, options.seed).items():
            points = searched(index, world.queries, exact, "nprobe", PROBES)
            results.append({"transform": rung, "index": "ivf", "way": way, "seconds": seconds, "points": points})
        if old_graph is not None:
            show(f"build the graph of {rung} anew")
            for way, (seconds, index) in {
                "built anew": clock(lambda: graph(new)),  # noqa: B023  (called at once)
                "old graph, new vectors": (clock(lambda: replace_nodes(old_graph, new))[0], old_graph),  # noqa: B023
            }.items():
                points = searched(index, world.queries, exact, "ef", EFFORTS)
                results.append({"transform": rung, "index": "hnsw", "way": way, "seconds": seconds, "points": points})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors of the gallery")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--lists", type=int, default=0, help="inverted lists (default: twice the root of the rows)")
    parser.add_argument(
        "--no-graph", dest="graph", action="store_false", help="leave the graphs out, which take longest"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    console = Console()
    results = measure(options, Console(stderr=True).print)
    table = Table("transform", "index", "way", "seconds", *("recall@10 at " + "/".join(map(str, PROBES)),), box=None)
    for one in results:
        shown = " ".join(f"{point['recall']:.3f}" for point in one["points"])
        table.add_row(one["transform"], one["index"], one["way"], f"{one['seconds']:.1f}", shown)
    console.print(table)
    if options.json:
        packages = {name: version(name) for name in ("bict", "numpy", "faiss-cpu")} | {
            "python": platform.python_version()
        }
        kept = {name: value for name, value in vars(options).items() if name != "json"}
        command = " ".join(["python", "benchmarks/index_reuse.py", *sys.argv[1:]])
        record = {"benchmark": "index_reuse", "command": command, "settings": kept, "results": results}
        write_json(options.json, json.loads(json.dumps({**record, "versions": packages})))


if __name__ == "__main__":
    main()
