"""How much recall an index of the old vectors keeps when its vectors are replaced by upgraded ones, and in what time.

    python benchmarks/index_reuse.py --rows 1000000 --json benchmarks/records/index_reuse.json

Two models see items of many classes through networks of their own; transforms are fitted on pairs and carry all old
vectors over. Then each index is searched with new queries, and its ten nearest are compared with the exact ones of the
upgraded vectors. Equal settings are not equal work, for lists may be of uneven length and a graph be walked further: so
vectors looked at are counted, and recall is also compared with what building anew reaches for as many of them.

- inverted lists (IVF, flat): built anew; lists as they were, with centroids carried over by the transform, or with the
  means of their members; the same, after every item chose again among the lists around its own; carried centroids and
  every item assigned anew, which leaves out only the clustering;
- a graph (HNSW): built anew, or the old graph with new vectors in its nodes;
- in the store: a LanceDB table, whose index (IVF, flat lists, as many as `bict` makes) is built anew; or with the old
  index's centroids carried over, which spares it the clustering; or with these after three rounds of k-means on a
  sample; or, as a control that knows no old index, after three rounds from rows drawn at random. Each is built several
  times, in turn, and the median of the seconds and the mean of the recalls count.

The upgraded vectors lie there already, so their transform is in no time; that of the centroids is. `pip install
faiss-cpu`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from index_reuse_store import in_the_store
from index_reuse_ways import assigned, clustered, graph, graph_ways, list_ways
from index_reuse_world import K, clock, draw, recall, upgraded
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bict.runs import write_json

Floats = NDArray[np.float32]
RUNGS = ("procrustes", "ridge", "mlp")
PROBES, EFFORTS = (1, 4, 16, 32, 64), (16, 32, 64, 128)


def searched(
    index: faiss.Index, queries: Floats, exact: NDArray[np.int64], name: str, settings: tuple[int, ...]
) -> list[dict[str, float]]:
    """Recall, vectors looked at for a query, and queries a second at each setting."""
    found = []
    stats = faiss.cvar.indexIVF_stats if name == "nprobe" else faiss.cvar.hnsw_stats
    for value in settings:
        if name == "nprobe":
            index.nprobe = value
        else:
            index.hnsw.efSearch = value
        stats.reset()
        seconds, (_, rows) = clock(lambda: index.search(queries, K))
        speed = {"looked_at": stats.ndis / len(queries), "queries_per_second": len(queries) / seconds}
        found.append({name: value, "recall": recall(rows, exact), **speed})
    return found


def at_equal_work(points: list[dict[str, float]], anew: list[dict[str, float]]) -> None:
    """Note beside each recall what building anew reaches for as many vectors looked at, where it was measured."""
    work, reached = ([point[name] for point in anew] for name in ("looked_at", "recall"))
    for point in points:
        if work[0] <= point["looked_at"] <= work[-1]:
            point["anew_for_as_many"] = float(np.interp(np.log(point["looked_at"]), np.log(work), reached))


def measure(options: argparse.Namespace, show: Callable[[str], None]) -> list[dict[str, Any]]:
    world = draw(options.rows, options.queries, options.dim, options.pairs, options.seed)
    lists = options.lists or int(2 * options.rows**0.5)
    show(f"cluster {options.rows:,} old vectors into {lists:,} lists")
    old_centroids = clustered(world.old, lists, options.seed)
    old_lists = assigned(world.old, old_centroids)
    old_graph = None
    if options.graph:
        show("build the old graph")
        old_graph = graph(world.old)
    results: list[dict[str, Any]] = []
    for rung in RUNGS:
        show(f"upgrade by {rung}")
        psi = upgraded(world, rung, options.seed)
        new = psi(world.old)
        flat = faiss.IndexFlatIP(options.dim)
        flat.add(new)
        exact = flat.search(world.queries, K)[1]
        kinds = {"ivf": ("nprobe", PROBES, list_ways(old_lists, old_centroids, new, psi, options.seed))}
        if old_graph is not None:
            show(f"build the graph of {rung} anew")
            kinds["hnsw"] = ("ef", EFFORTS, graph_ways(old_graph, new))
        for kind, (name, settings, ways) in kinds.items():
            found = {way: searched(index, world.queries, exact, name, settings) for way, (_, index) in ways.items()}
            for way, points in found.items():
                at_equal_work(points, found["built anew"])
                row = {"transform": rung, "index": kind, "way": way, "seconds": ways[way][0], "points": points}
                results.append(row)
        if options.store:
            show(f"index the upgraded vectors of {rung} in a store")
            stored = in_the_store(world, new, psi, exact, options.repeats, PROBES)
            for row in stored:
                at_equal_work(row["points"], stored[0]["points"])
                results.append({"transform": rung, "index": "lance", **row})
    return results


def main() -> None:
    os.environ["LANCE_INCLUDE_VECTOR_CENTROIDS"] = "false"  # which statistics of an index warn about otherwise
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors of the gallery")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=20_000, help="pairs that the transforms are fitted on")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--lists", type=int, default=0, help="inverted lists (default: twice the root of the rows)")
    parser.add_argument(
        "--no-graph", dest="graph", action="store_false", help="leave the graphs out, which take longest"
    )
    parser.add_argument("--no-store", dest="store", action="store_false", help="leave the store out")
    parser.add_argument("--repeats", type=int, default=3, help="builds of each index in the store")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    console = Console()
    results = measure(options, Console(stderr=True).print)
    settings = {"ivf": f"nprobe {PROBES}", "lance": f"nprobe {PROBES}", "hnsw": f"ef {EFFORTS}"}
    table = Table("transform", "index", "way", "seconds", "at", f"recall@{K}", "anew, for as many looked at", box=None)
    for one in results:
        shown, anew = (
            " ".join(f"{point[name]:.3f}" if name in point else "-" for point in one["points"])
            for name in ("recall", "anew_for_as_many")
        )
        cells = (one["transform"], one["index"], one["way"], f"{one['seconds']:.2f}", settings[one["index"]], shown)
        table.add_row(*cells, anew if one["way"] != "built anew" else "")
    console.print(table)
    if options.json:
        packages = {name: version(name) for name in ("bict", "numpy", "faiss-cpu", "pylance")} | {
            "python": platform.python_version()
        }
        kept = {name: value for name, value in vars(options).items() if name != "json"}
        kept |= {"cpus": os.cpu_count(), "faiss_threads": faiss.omp_get_max_threads()}
        command = " ".join(["python", "benchmarks/index_reuse.py", *sys.argv[1:]])
        record = {"benchmark": "index_reuse", "command": command, "settings": kept, "results": results}
        write_json(options.json, json.loads(json.dumps({**record, "versions": packages})))


if __name__ == "__main__":
    main()
