"""What computing a fitted network in less than float32 gains and costs: rows a second, and neighbours that stay.

    python benchmarks/precision.py --json benchmarks/records/precision.json

Two models see items of many classes through networks of their own; mlp is fitted on pairs, and `bict upgrade plan` is
asked about a gallery of old vectors in each precision, on this machine's cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from index_reuse_world import draw
from rich.console import Console
from rich.table import Table

from bict.embeddings import Embeddings
from bict.gallery import Gallery, plan
from bict.runs import write_json
from bict.spaces import Space
from bict.transforms import ResidualMLP, Transform
from bict.transforms.precision import PRECISIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    world = draw(options.rows, 1, options.dim, options.pairs, options.seed)
    old, new = (Space(name=name, fingerprint=name[0] * 16, dim=options.dim) for name in ("a-old", "b-new"))
    psi = Transform(ResidualMLP(seed=options.seed).fit(world.pairs), old, new)
    results, table = [], Table("precision", "rows/s", "times float32", "of 10 neighbours stay")
    with tempfile.TemporaryDirectory() as folder:
        gallery = Gallery.create(Path(folder) / "g", Embeddings(np.arange(options.rows), world.old, old))
        for precision in PRECISIONS:
            found = plan(gallery, psi.at(precision))
            kept = 1.0 if found.kept_neighbours is None else found.kept_neighbours
            results.append(
                {"precision": precision, "rows_per_second": found.rows_per_second, "kept_neighbours": kept}
                | {"speed_up": found.rows_per_second / results[0]["rows_per_second"] if results else 1.0}
            )
            one = results[-1]
            table.add_row(precision, f"{one['rows_per_second']:,.0f}", f"{one['speed_up']:.2f}", f"{kept:.1%}")
    Console().print(table)
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        record = {"benchmark": "precision", "command": "python benchmarks/precision.py", "cores": os.cpu_count()}
        write_json(options.json, record | {"settings": settings, "results": results})


if __name__ == "__main__":
    main()
