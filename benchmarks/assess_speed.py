"""Times `bict assess` on two Parquet files of vectors, and its peak memory.

    python benchmarks/assess_speed.py --json benchmarks/records/assess_speed.json

Both models see the same items through random maps with noise of their own, the old one with more of it: classes are
points in 48 dimensions, 50 items lie around each. The command runs in a process of its own. On 2 idle cores it should
be done within 3 minutes and 4 GB; the load of the machine is in the record. Where others run too, threads wait for each
other and the seconds say little: take `--threads 1` there, and read the processor seconds.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from bict.embeddings import normalise, vectors_to_arrow
from bict.runs import write_json

CHUNK = 10_000
LATENT, WIDTH, PER_CLASS = 48, 0.65, 50
NOISE = {"old": 3.0, "new": 0.5}
SECONDS, GIGABYTES = 180, 4
"""Allowed on 2 idle cores."""
IDLE = 0.5
"""Load below which the machine counts as idle."""


def write_vectors(path: Path, side: str, rows: int, dim: int) -> Path:
    """Unit vectors of one model, with ids and labels; the items are those of the other file."""
    classes = max(20, rows // PER_CLASS)
    centres = np.random.default_rng(0).standard_normal((classes, LATENT), np.float32)
    view = np.random.default_rng(list(side.encode())).standard_normal((LATENT, dim), np.float32) / np.sqrt(LATENT)
    writer = None
    for start in range(0, rows, CHUNK):
        ids = np.arange(start, min(start + CHUNK, rows))
        items, noise = np.random.default_rng([1, start]), np.random.default_rng([*side.encode(), start])
        labels = ids % classes
        latent = centres[labels] + WIDTH * items.standard_normal((len(ids), LATENT), np.float32)
        vectors = latent @ view + NOISE[side] * noise.standard_normal((len(ids), dim), np.float32)
        columns = {"id": ids, "label": [f"class {label}" for label in labels]}
        table = pa.table({**columns, "vector": vectors_to_arrow(normalise(vectors))})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


def measure(folder: Path, rows: int, dim: int, threads: int) -> dict[str, Any]:
    """One run: its seconds, its memory, what it said, and how long each of its stages took."""
    words = [sys.executable, "-m", "bict", "assess", "--json", "--out", str(folder / "assessment")]
    for side in NOISE:
        words += [f"--{side}", str(write_vectors(folder / f"{side}.parquet", side, rows, dim))]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    before, began = load(), time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits}, check=False)
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    return {
        **{"seconds": round(seconds, 1), "user_seconds": round(used.ru_utime, 1)},
        **{"system_seconds": round(used.ru_stime, 1), "peak_gigabytes": round(used.ru_maxrss / 2**20, 2)},
        **{"load": {"before": before, "after": load()}, "exit_code": done.returncode},
        **{name: found[name] for name in ("verdict", "chosen", "counts", "timing")},
        "map": {rung["name"]: round(rung["map"]["value"], 4) for rung in found["rungs"] if rung["map"]},
    }


def load() -> list[float]:
    """Runnable processes of the whole machine, mean over the last 1, 5 and 15 minutes."""
    return [round(number, 2) for number in os.getloadavg()]


def show(result: dict[str, Any]) -> None:
    table = Table("", "seconds", box=None)
    for name, seconds in sorted(result["timing"].items(), key=lambda entry: -entry[1]):
        table.add_row(name, f"{seconds:.1f}")
    for name in ("seconds", "user_seconds", "system_seconds", "peak_gigabytes", "load", "verdict", "chosen"):
        table.add_row(name, str(result[name]), style="bold")
    Console().print(table)


def main(
    *,
    rows: Annotated[int, typer.Option(help="Items, about 50 of each class.")] = 100_000,
    dim: Annotated[int, typer.Option(help="Dimension of both models.")] = 768,
    threads: Annotated[int, typer.Option(help="Threads of the command.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
) -> None:
    given = (("rows", rows, 100_000), ("dim", dim, 768), ("threads", threads, 2))
    with tempfile.TemporaryDirectory(prefix="bict-assess-") as folder:
        result = measure(Path(folder), rows, dim, threads)
    show(result)
    options = [f"--{name} {value}" for name, value, usual in given if value != usual]
    allowed = {"seconds": SECONDS, "gigabytes": GIGABYTES}
    record = {
        "benchmark": "assess_speed",
        "command": " ".join(["python", "benchmarks/assess_speed.py", *options]),
        "rows": {"pairs": rows, "dim": dim, "classes": max(20, rows // PER_CLASS)},
        "threads": threads,
        "cores": os.cpu_count(),
        "allowed_on_idle_cores": allowed,
        "was_idle": result["load"]["before"][0] < IDLE,
        "within": result["seconds"] <= SECONDS and result["peak_gigabytes"] <= GIGABYTES,
        "result": result,
        "versions": {name: version(name) for name in ("bict", "numpy", "torch")}
        | {"python": platform.python_version()},
    }
    if json_file:
        write_json(json_file, record)


if __name__ == "__main__":
    typer.run(main)
