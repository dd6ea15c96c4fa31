"""Times an upgrade against each of its stages alone, a plain copy of the file, and what it spares: embedding again.

    python benchmarks/upgrade_throughput.py --json benchmarks/records/upgrade_throughput.json
    python benchmarks/upgrade_throughput.py --store postgresql --rows 1000000 --json \
        benchmarks/records/upgrade_throughput_postgresql.json

In one run, for each number of rows and each transform: scan alone, transform alone, write alone, staging (all three,
with checksums), verification and, for the first transform, the index; beside them what
`bict upgrade plan --rows` had forecast. Each is measured in a process of its own that did not write the gallery, so
that its peak memory is that of staging. At the end images a second of the smallest pretrained backbone here, without
decoding, and a migration by isotrieve, where it is installed (pip install 'bict[peers]').
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bict.cli.memory import few_arenas
from bict.embeddings import Embeddings, normalise, vectors_to_arrow
from bict.engine import overlap
from bict.gallery import Gallery, build_index, discard, plan, stage, verify
from bict.gallery.carrying import Route
from bict.gallery.pace import Pace, find_pace, one_thread_each
from bict.runs import write_json
from bict.spaces import Space
from bict.transforms import ResidualMLP, Ridge, Transform

BLOCK = 65_536
TRANSFORMED, MIGRATED, IMAGES = 2_000_000, 100_000, 1024
"""Rows that the transform alone is timed on at most, that isotrieve moves, and pictures that are embedded."""
OLD = Space(name="old", fingerprint="0" * 16, dim=256)
NEW = Space(name="new", fingerprint="1" * 16, dim=256)


def batches(rows: int) -> Iterator[tuple[Embeddings, None]]:
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        vectors = np.random.default_rng(start).standard_normal((size, OLD.dim), np.float32)
        yield Embeddings(np.arange(start, start + size), normalise(vectors), OLD), None


def mlp() -> Transform:
    """Random weights in the shape that `bict fit` gives them by default: 1,024 hidden units for 256 dimensions."""
    rng = np.random.default_rng(0)
    shapes = {"weight": (256, 256), "bias": (256,), "hidden_weight": (256, 1024), "hidden_bias": (1024,)}
    shapes["out_weight"] = (1024, 256)
    state = {name: rng.standard_normal(shape, np.float32) / 16 for name, shape in shapes.items()}
    return Transform(ResidualMLP.from_state(state, ResidualMLP().settings()), OLD, NEW)


def linear() -> Transform:
    """Random weights of a ridge map."""
    rng = np.random.default_rng(0)
    state = {
        "weight": rng.standard_normal((256, 256), np.float32) / 16,
        "bias": np.zeros(256, np.float32),
        "alpha": np.ones(1),
    }
    return Transform(Ridge.from_state(state, Ridge().settings()), OLD, NEW)


STEPS = {"stage": "staging", "verify": "verify", "index": "index"}
TRANSFORMS = {"linear": linear, "mlp": mlp, "mlp in bfloat16": lambda: mlp().at("bfloat16")}


# --- each in a process of its own ------------------------------------------------------------------------------------


def write(address: str, rows: int, _transform: str) -> dict[str, Any]:
    began = time.perf_counter()
    Gallery.create(address, batches(rows))
    return {"create_rows_per_second": rows / (time.perf_counter() - began)}


def predict(address: str, rows: int, transform: str) -> dict[str, Any]:
    """The forecast, from a gallery whose size it does not look at."""
    found = plan(Gallery.open(address), TRANSFORMS[transform](), rows=rows)
    assert found.forecast, found.problems
    return asdict(found.forecast)


def measure(address: str, rows: int, transform: str, *, index: bool = False) -> dict[str, Any]:
    few_arenas()  # as `bict upgrade` does
    gallery, psi, seconds = Gallery.open(address), TRANSFORMS[transform](), {}
    sample = next(batches(BLOCK))[0]
    pace, _ = find_pace([Route(gallery.metadata.active_column, psi)], next(gallery.store.scan(["id", "v1"])), "id")
    before, cpu = peak(), time.process_time()
    column = stage(gallery, psi, pace=pace)
    busy = (time.process_time() - cpu) / column.seconds
    seconds["staging"], staged = column.seconds, peak()
    seconds["scan"] = clock(lambda: [len(batch) for batch in gallery.store.scan(["id", "v1"])])
    seconds["transform"] = transform_alone(psi, pace, sample, rows)
    began = time.perf_counter()
    assert verify(gallery, psi, sample=0).passed
    seconds["verify"] = time.perf_counter() - began
    if index:
        seconds["index"] = clock(lambda: build_index(gallery))
    discard(gallery)
    seconds["write"] = write_alone(gallery, sample)
    slowest = max(("scan", "transform", "write"), key=lambda name: seconds[name])
    return {
        **{f"{name}_rows_per_second": rows / taken for name, taken in seconds.items()},
        "slowest_stage": slowest,
        "cores_busy_while_staging": busy,
        "staging_share_of_slowest_stage": seconds[slowest] / seconds["staging"],
        "megabytes_per_second": rows * 4 * (OLD.dim + NEW.dim) / seconds["staging"] / 1e6,
        "peak_megabytes": staged,
        "peak_megabytes_before_staging": before,
        "pace": asdict(pace),
        "seconds": seconds,
    }


def transform_alone(psi: Transform, pace: Pace, sample: Embeddings, rows: int) -> float:
    """Seconds for so many rows at this pace, from vectors in memory; timed on a part of them where they are many."""
    timed = min(rows, TRANSFORMED)
    slices = (
        sample.take(np.arange(start % BLOCK, min(start % BLOCK + pace.rows, BLOCK)))
        for start in range(0, timed, pace.rows)
    )
    with one_thread_each():
        return clock(lambda: [None for _ in overlap(psi.apply, slices, threads=pace.threads)]) * rows / timed


def write_alone(gallery: Gallery, sample: Embeddings) -> float:
    """The store's own writing of a staged column, from vectors that lie in memory."""
    store, block = gallery.store, vectors_to_arrow(sample.vectors)
    store.begin_stage("v3", NEW.dim, "cosine")
    began = time.perf_counter()
    for unit in store.units("v3"):
        starts = range(0, unit.rows, 8192)
        parts = (block.slice(start % BLOCK, min(8192, unit.rows - start)) for start in starts)
        store.stage_unit(unit, "v3", parts)
    seconds = time.perf_counter() - began
    store.drop_column("v3")
    return seconds


PARTS = {"write": write, "predict": predict, "measure": measure, "measure-index": partial(measure, index=True)}


def clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak() -> float:
    """Largest resident memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(part: str, address: str, rows: int, transform: str = "mlp") -> dict[str, Any]:
    words = [sys.executable, __file__, "--part", part, "--address", address, "--rows", str(rows)]
    done = subprocess.run([*words, "--transform", transform], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


# --- beside it -------------------------------------------------------------------------------------------------------


def copied(rows: int, folder: Path) -> float:
    """Megabytes a second, read and written together, of a plain copy of as many bytes, synced."""
    source, target = folder / "plain", folder / "copy"
    block = np.random.default_rng(0).bytes(BLOCK * 4 * OLD.dim)
    with source.open("wb") as file:
        for start in range(0, rows, BLOCK):
            file.write(block[: 4 * OLD.dim * min(BLOCK, rows - start)])
    began = time.perf_counter()
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 2**22)
        writer.flush()
        os.fsync(writer.fileno())
    seconds = time.perf_counter() - began
    moved = 2 * source.stat().st_size
    source.unlink()
    target.unlink()
    return moved / seconds / 1e6


def embedded() -> dict[str, Any]:
    """Images a second of EfficientNet-Lite0 at 224 pixels on all cores, from pixels in memory."""
    import timm  # noqa: PLC0415
    import torch  # noqa: PLC0415

    model, pixels = timm.create_model("efficientnet_lite0", num_classes=0).eval(), torch.rand(64, 3, 224, 224)
    with torch.inference_mode():
        model(pixels)
        seconds = clock(lambda: [model(pixels) for _ in range(IMAGES // 64)])
    return {"backbone": "efficientnet_lite0", "pixels": 224, "images_per_second": IMAGES / seconds}


def migrated(rows: int, folder: Path) -> dict[str, Any] | None:
    """Rows a second of isotrieve's store-to-store migration with a ridge map, from files to files."""
    try:
        from isotrieve import RidgeMapping  # noqa: PLC0415
        from isotrieve.migrate import migrate_store  # noqa: PLC0415
        from isotrieve.stores.numpy_files import NumpyFileStore  # noqa: PLC0415
    except ImportError:
        return None
    vectors = np.concatenate([batch.vectors for batch, _ in batches(rows)])
    mapping = RidgeMapping(alpha=1.0).fit(vectors[:4096], np.roll(vectors[:4096], 1, axis=1))
    source = NumpyFileStore.from_arrays(folder / "peer", vectors)
    target = NumpyFileStore(folder / "peer-new", create=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # a line for each batch
        seconds = clock(lambda: migrate_store(source, target, mapping, manifest_path=folder / "manifest.json"))
    return {"rows": rows, "rows_per_second": rows / seconds}


# --- the run ---------------------------------------------------------------------------------------------------------


@contextmanager
def place(store: str, folder: Path) -> Iterator[str]:
    """An address of a gallery on the same disk as the folder."""
    if store == "lance":
        yield str(folder / "gallery")
        return
    from pgvector_staging import temporary_server  # noqa: PLC0415

    with temporary_server() as address:
        yield address


def one_size(store: str, rows: int, transforms: list[str], *, index: bool) -> list[dict[str, Any]]:
    folder, results = Path(tempfile.mkdtemp(prefix="bict-throughput-")), []
    try:
        copy = copied(rows, folder)
        with place(store, folder) as address:
            alone("write", address, rows)
            for transform in transforms:
                expected = alone("predict", address, rows, transform)
                part = "measure-index" if index and transform == transforms[0] else "measure"
                found = alone(part, address, rows, transform)
                measured = {name: found["seconds"][short] for name, short in STEPS.items() if short in found["seconds"]}
                parts = {name: expected[f"{name}_seconds"] / taken for name, taken in measured.items()}
                whole = sum(expected[f"{name}_seconds"] for name in measured) / sum(measured.values())
                results.append(
                    {
                        "rows": rows,
                        "transform": transform,
                        **found,
                        "copy_megabytes_per_second": copy,
                        "share_of_copy": found["megabytes_per_second"] / copy,
                        "forecast": expected,
                        "forecast_over_measured": {**parts, "all": whole},
                    }
                )
        return results
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(results: list[dict[str, Any]]) -> None:
    columns = (f"{one['rows']:,}\n{one['transform']}" for one in results)
    table = Table("rows/s", *columns)
    for name in ("scan", "transform", "write", "staging", "verify", "index"):
        rates = (one.get(f"{name}_rows_per_second") for one in results)
        table.add_row(name, *("-" if rate is None else f"{rate:,.0f}" for rate in rates))
    table.add_row("staging, of the slowest stage", *(f"{one['staging_share_of_slowest_stage']:.0%}" for one in results))
    table.add_row("cores busy meanwhile", *(f"{one['cores_busy_while_staging']:.2f}" for one in results))
    table.add_row("staging, of a plain copy", *(f"{one['share_of_copy']:.0%}" for one in results))
    table.add_row("peak memory, MB", *(f"{one['peak_megabytes']:,.0f}" for one in results))
    for name in ("stage", "verify", "index", "all"):
        ratios = (one["forecast_over_measured"].get(name) for one in results)
        table.add_row(f"forecast, {name}", *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios))
    Console(width=120).print(table)


def installed(names: tuple[str, ...]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(
    *,
    rows: Annotated[list[int], typer.Option(help="Gallery rows; give it several times.")] = [1_000_000, 10_000_000],  # noqa: B006
    store: Annotated[str, typer.Option(help="lance or postgresql.")] = "lance",
    transform: Annotated[list[str], typer.Option(help=f"Of {', '.join(TRANSFORMS)}.")] = list(TRANSFORMS),  # noqa: B006
    index_most: Annotated[
        int, typer.Option(help="Build the index too, for the first transform, up to so many rows: it takes longest.")
    ] = 10_000_000,
    beside: Annotated[bool, typer.Option(help="Also embed pictures, and migrate with isotrieve.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
    part: Annotated[str | None, typer.Option(hidden=True)] = None,
    address: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if part:
        print(json.dumps(PARTS[part](address, rows[0], transform[0])))
        return
    load = os.getloadavg()
    results = [one for number in rows for one in one_size(store, number, transform, index=number <= index_most)]
    show(results)
    record = {
        "benchmark": "upgrade_throughput",
        "command": " ".join(["python", "benchmarks/upgrade_throughput.py", *without_json(sys.argv[1:])]),
        "store": store,
        "dim": OLD.dim,
        "cores": os.cpu_count(),
        "load_before": load,
        "results": results,
        "versions": installed(("bict", "pylance", "psycopg", "numpy", "torch", "isotrieve")),
    }
    if beside:
        with tempfile.TemporaryDirectory(prefix="bict-throughput-") as folder:
            record |= {"embedding": embedded(), "isotrieve": migrated(min(MIGRATED, rows[0]), Path(folder))}
        Console().print(record["embedding"], record["isotrieve"])
    if json_file:
        write_json(json_file, record)


def without_json(words: list[str]) -> list[str]:
    at = words.index("--json") if "--json" in words else len(words)
    return [*words[:at], *words[at + 2 :]]


if __name__ == "__main__":
    typer.run(main)
