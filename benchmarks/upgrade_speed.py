"""Times an upgrade of a LanceDB gallery against each of its stages alone, with the default MLP, and its peak memory.

    python benchmarks/upgrade_speed.py --json benchmarks/records/upgrade_speed.json

In one run, for each number of rows: scan alone, transform alone, write alone, staging (all three), and verification.
Every number of rows is staged in a process of its own that did not write the gallery, so that its peak memory is
that of staging.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bict.cli.memory import few_arenas
from bict.embeddings import Embeddings, normalise, vectors_to_arrow
from bict.gallery import Gallery, stage, verify
from bict.spaces import Space
from bict.transforms import ResidualMLP, Transform

CHUNK = 65_536
OLD = Space(name="old", fingerprint="0" * 16, dim=256)
NEW = Space(name="new", fingerprint="1" * 16, dim=256)


def batches(rows: int) -> Iterator[tuple[Embeddings, None]]:
    for start in range(0, rows, CHUNK):
        size = min(CHUNK, rows - start)
        vectors = np.random.default_rng(start).standard_normal((size, OLD.dim), np.float32)
        yield Embeddings(np.arange(start, start + size), normalise(vectors), OLD), None


def default_mlp() -> Transform:
    """Random weights in the shape that `bict fit` gives them by default: 1,024 hidden units for 256 dimensions."""
    rng = np.random.default_rng(0)
    shapes = {"weight": (256, 256), "bias": (256,), "hidden_weight": (256, 1024), "hidden_bias": (1024,)}
    shapes["out_weight"] = (1024, 256)
    state = {name: rng.standard_normal(shape, np.float32) / 16 for name, shape in shapes.items()}
    return Transform(ResidualMLP.from_state(state, ResidualMLP().settings()), OLD, NEW)


def measure(rows: int, folder: Path) -> dict[str, float]:
    few_arenas()  # as `bict upgrade` does
    if not (folder / "gallery").exists():
        Gallery.create(folder / "gallery", batches(rows))
        return {}
    gallery, transform, seconds = Gallery.open(folder / "gallery"), default_mlp(), {}
    began, before = time.perf_counter(), peak()
    stage(gallery, transform)
    seconds["staging"], staged = time.perf_counter() - began, peak()
    began = time.perf_counter()
    for batch in gallery.store.scan(["id", "v1"]):
        len(batch)
    seconds["scan"] = time.perf_counter() - began
    sample = next(batches(CHUNK))[0]
    began = time.perf_counter()
    for _ in range(0, rows, CHUNK):
        transform.apply(sample)
    seconds["transform"] = (time.perf_counter() - began) * rows / (CHUNK * -(-rows // CHUNK))
    began = time.perf_counter()
    assert verify(gallery, transform).passed
    seconds["verify"] = time.perf_counter() - began
    seconds["write"] = write_alone(gallery, rows)
    slowest = max(seconds[name] for name in ("scan", "transform", "write"))
    return {
        **{f"{name}_rows_per_second": rows / taken for name, taken in seconds.items()},
        "staging_share_of_slowest_stage": slowest / seconds["staging"],
        "peak_megabytes": staged,
        "peak_megabytes_before_staging": before,
        "rows": rows,
    }


def write_alone(gallery: Gallery, rows: int) -> float:
    """The store's own writing of a staged column, from vectors that lie in memory."""
    store = gallery.store
    store.begin_stage("v3", NEW.dim, "cosine")
    block = vectors_to_arrow(next(batches(CHUNK))[0].vectors)
    began = time.perf_counter()
    for unit in store.units("v3"):
        parts = (block.slice(0, min(8192, unit.rows - start)) for start in range(0, unit.rows, 8192))
        store.stage_unit(unit, "v3", parts)
    return time.perf_counter() - began


def peak() -> float:
    """Largest resident memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process_of_its_own(rows: int) -> dict[str, float]:
    folder = Path(tempfile.mkdtemp(prefix="bict-speed-"))
    try:
        words = [sys.executable, __file__, "--alone", str(rows), "--folder", str(folder)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # writes the gallery
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        return dict(json.loads(done.stdout))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(results: list[dict[str, float]]) -> None:
    table = Table("", *(f"{result['rows']:,} rows" for result in results), title="rows/s, 256-d, MLP 256-1024-256")
    for name in ("scan", "transform", "write", "staging", "verify"):
        table.add_row(name, *(f"{result[f'{name}_rows_per_second']:,.0f}" for result in results))
    shares = (f"{result['staging_share_of_slowest_stage']:.0%}" for result in results)
    table.add_row("staging, of the slowest stage", *shares)
    table.add_row("peak memory, MB", *(f"{result['peak_megabytes']:,.0f}" for result in results))
    Console().print(table)


def main(
    *,
    rows: Annotated[list[int], typer.Option(help="Gallery rows; give it several times.")] = [100_000, 1_000_000],  # noqa: B006
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
    alone: Annotated[int, typer.Option(hidden=True)] = 0,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    if alone and folder:
        print(json.dumps(measure(alone, folder)))
        return
    results = [in_a_process_of_its_own(number) for number in rows]
    show(results)
    if json_file:
        record = {
            "benchmark": "upgrade_speed",
            "command": "python benchmarks/upgrade_speed.py",
            "dim": OLD.dim,
            "transform": default_mlp().rung.name,
            "cores": os.cpu_count(),
            "results": results,
            "memory_ratio": results[-1]["peak_megabytes"] / results[0]["peak_megabytes"],
            "versions": {name: version(name) for name in ("bict", "pylance", "numpy", "torch")}
            | {"python": platform.python_version()},
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
