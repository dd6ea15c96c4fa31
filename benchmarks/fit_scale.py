"""`bict fit` on two Parquet files of many vectors: seconds, peak memory, and bytes a second against plain reading.

    python benchmarks/fit_scale.py --json benchmarks/records/fit_scale.json

For each number of rows two files of 256-d vectors are written, of the same items in another order, with text ids and
class names. Vectors are float16 unless `--number float32` is given, which takes twice the space: 10 million rows are 5
GB a file, or 10 GB. Then, each in a process of its own: both files are read plainly, row group by row group, as Arrow
holds them; `read` joins them by id and reads the pairs that `bict fit` draws; and `bict fit` runs as a user starts it.
Last, transforms that need nothing but sums over pairs are fitted on more and more pairs of the largest files, and
judged on items that are in neither: whether more pairs than are drawn would help.
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
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bict.assessment.pairing import PairedVectors
from bict.cli.memory import few_arenas
from bict.embeddings import Embeddings, normalise
from bict.evaluation import evaluate_pair
from bict.transforms import Pairs, build_rung
from bict.workflow.vectors import VectorSettings, read_pairs

DIM, LATENT, CLASSES = 256, 48, 5000
CHUNK = 65_536
"""Rows that are made at once, and rows of a row group."""
UNSEEN, QUERIES = 10_000, 2000
SIDES = ("old", "new")
PARTS = ("plain", "read", "fit")


# --- files ----------------------------------------------------------------------------------------------------------


def items(chunk: int, rows: int, side: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Classes `(rows,)` of the items of a chunk, and the vectors `(rows, 256)` that one of two models makes of them.

    Both see the same hidden causes of an item, each through a nonlinear map and with noise of its own.
    """
    at, shared = SIDES.index(side), np.random.default_rng([1, chunk])
    centres = np.random.default_rng(0).standard_normal((CLASSES, LATENT), np.float32)
    model, noise = np.random.default_rng([2, at]), np.random.default_rng([3, chunk, at])
    classes = shared.integers(0, CLASSES, rows)
    causes = centres[classes] + shared.standard_normal((rows, LATENT), np.float32)
    seen = np.tanh(causes @ model.standard_normal((LATENT, DIM), np.float32) / np.float32(LATENT**0.5))
    vectors = seen @ model.standard_normal((DIM, DIM), np.float32) / np.float32(DIM**0.5)
    vectors += np.float32(0.5) * noise.standard_normal((rows, DIM), np.float32)
    return classes, normalise(vectors)


def table(chunk: int, rows: int, side: str, number: str, order: NDArray[np.int64]) -> pa.Table:
    classes, vectors = items(chunk, rows, side)
    numbers = pa.array((chunk * CHUNK + order).astype(str))
    flat = pa.array(vectors[order].astype(number).reshape(-1))
    columns = {
        "id": pc.binary_join_element_wise("item-", pc.utf8_lpad(numbers, 9, "0"), ""),
        "vector": pa.FixedSizeListArray.from_arrays(flat, DIM),
        "label": pc.binary_join_element_wise("class ", pa.array(classes[order].astype(str)), ""),
    }
    return pa.table(columns)


def write(folder: Path, rows: int, number: str) -> dict[str, float]:
    """Both files; in the second, chunks and the rows within them come in another order."""
    began, chunks = time.perf_counter(), -(-rows // CHUNK)
    for side in SIDES:
        rng, writer = np.random.default_rng(2), None
        for chunk in range(chunks) if side == "old" else rng.permutation(chunks).tolist():
            size = min(CHUNK, rows - chunk * CHUNK)
            order = np.arange(size) if side == "old" else rng.permutation(size)
            made = table(chunk, size, side, number, order)
            if writer is None:
                writer = pq.ParquetWriter(folder / f"{side}.parquet", made.schema, use_dictionary=["label"])
            writer.write_table(made, row_group_size=CHUNK)
        assert writer is not None
        writer.close()
    return {"seconds": time.perf_counter() - began}


# --- what is measured -----------------------------------------------------------------------------------------------


def plain(folder: Path) -> dict[str, float]:
    """Both files, one row group after the other, and nothing done with them."""
    began, rows = time.perf_counter(), 0
    for side in SIDES:
        with pq.ParquetFile(folder / f"{side}.parquet") as file:
            for group in range(file.num_row_groups):
                rows += len(file.read_row_group(group))
    return {"seconds": time.perf_counter() - began, "rows": rows}


def read(folder: Path) -> dict[str, float]:
    """The part of `bict fit` that depends on the number of rows."""
    few_arenas()  # as `bict fit` does
    began = time.perf_counter()
    pairs = drawn(folder, None)
    return {"seconds": time.perf_counter() - began, "pairs": len(pairs.ids)}


def drawn(folder: Path, number: int | None) -> PairedVectors:
    settings = VectorSettings() if number is None else VectorSettings(max_pairs=number)
    return read_pairs(folder / "old.parquet", folder / "new.parquet", settings, seed=0)


def accuracy(folder: Path, number: int) -> dict[str, Any]:
    """Mean cosine and mAP of the linear rungs on unseen items, fitted on so many pairs."""
    pairs = drawn(folder, number)
    classes, old = items(10**6, UNSEEN, "old")
    new = items(10**6, UNSEEN, "new")[1]
    found: dict[str, Any] = {"pairs": len(pairs.ids)}
    for name in ("procrustes", "ridge"):
        rung = build_rung(name, None, seed=0)
        rung.fit(Pairs(pairs.old[None], pairs.new[None], None))
        made = normalise(rung.transform(old))
        sides = [Embeddings(np.arange(UNSEEN), side, pairs.new_space, classes) for side in (new, made)]
        result = evaluate_pair(
            sides[0].take(np.arange(QUERIES)), sides[1], name=name, query_name="new", gallery_name="upgraded", ks=()
        )
        cosine = float(np.mean(np.sum(made * new, axis=1)))
        found[name] = {"cosine": cosine, "map": result.scores["map"], "map_interval": result.intervals["map"]}
    return found


def peak() -> float:
    """Largest resident memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- processes ------------------------------------------------------------------------------------------------------


def in_a_process_of_its_own(part: str, folder: Path, *words: object) -> dict[str, Any]:
    """What a part measures; it begins with the peak memory of this process, which holds the libraries and no more."""
    command = [sys.executable, __file__, "--alone", part, "--folder", str(folder), *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def fit(folder: Path, rung: str) -> dict[str, Any]:
    """`bict fit` as a user starts it."""
    out = folder / "psi"
    words = ["fit", "--old", str(folder / "old.parquet"), "--new", str(folder / "new.parquet"), "--out", str(out)]
    words += ["--rung", rung] if rung else []
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "bict", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert not process.returncode, f"bict fit ended with {process.returncode}"
    chosen = json.loads((out / "transform.json").read_text())["rung"]
    shutil.rmtree(out)
    return {"seconds": seconds, "peak_megabytes": usage.ru_maxrss / 1024, "rung": chosen}


def measure(rows: int, number: str, rung: str, folder: Path) -> dict[str, Any]:
    in_a_process_of_its_own("write", folder, "--rows", rows, "--number", number)
    size = sum((folder / f"{side}.parquet").stat().st_size for side in SIDES)
    found = {name: in_a_process_of_its_own(name, folder) for name in ("plain", "read")}
    found["fit"] = fit(folder, rung)
    for part in found.values():
        part["bytes_per_second"] = size / part["seconds"]
    share = found["plain"]["seconds"] / found["read"]["seconds"]
    return {"rows": rows, "file_bytes": size, **found, "read_share_of_plain": share}


def show(results: list[dict[str, Any]], by_pairs: list[dict[str, Any]]) -> None:
    shown = Table("", *(f"{one['rows']:,} rows" for one in results), box=None)
    shown.add_row("both files, MB", *(f"{one['file_bytes'] / 1e6:,.0f}" for one in results))
    for part in PARTS:
        shown.add_row(f"{part}, seconds", *(f"{one[part]['seconds']:,.1f}" for one in results))
        shown.add_row(f"{part}, MB/s", *(f"{one[part]['bytes_per_second'] / 1e6:,.0f}" for one in results))
        if part != "plain":
            shown.add_row(f"{part}, peak memory, MB", *(f"{one[part]['peak_megabytes']:,.0f}" for one in results))
    Console().print(shown)
    if by_pairs:
        table = Table("pairs", "procrustes, cosine", "mAP", "ridge, cosine", "mAP", box=None)
        for one in by_pairs:
            scores = (one[name][key] for name in ("procrustes", "ridge") for key in ("cosine", "map"))
            table.add_row(f"{one['pairs']:,}", *(f"{score:.4f}" for score in scores))
        Console().print(table)


def main(
    *,
    rows: Annotated[list[int], typer.Option(help="Of each file; give it several times.")] = [1_000_000, 10_000_000],  # noqa: B006
    pairs: Annotated[list[int], typer.Option(help="To fit on, of the last files.")] = [20_000, 200_000, 1_000_000],  # noqa: B006
    number: Annotated[str, typer.Option(help="float16, or float32 for files of twice the size.")] = "float16",
    rung: Annotated[str, typer.Option(help="Fit this one alone (default: choose, as `bict fit` does).")] = "",
    scratch: Annotated[Path | None, typer.Option(help="Folder with room for the files.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
    alone: Annotated[str, typer.Option(hidden=True)] = "",
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    if alone and folder:
        tasks = {
            "write": lambda: write(folder, rows[0], number),
            "plain": lambda: plain(folder),
            "read": lambda: {**read(folder), "peak_megabytes": peak()},
            "accuracy": lambda: accuracy(folder, pairs[0]),
        }
        print(json.dumps(tasks[alone]()))
        return
    results, by_pairs = [], []
    for at, one in enumerate(rows, 1):
        place = Path(tempfile.mkdtemp(prefix="bict-fit-", dir=scratch))
        try:
            results.append(measure(one, number, rung, place))
            if at == len(rows):
                by_pairs = [in_a_process_of_its_own("accuracy", place, "--pairs", many) for many in pairs]
        finally:
            shutil.rmtree(place, ignore_errors=True)
    show(results, by_pairs)
    if json_file:
        record = {
            "benchmark": "fit_scale",
            "command": "python benchmarks/fit_scale.py",
            "dim": DIM,
            "number": number,
            "cores": os.cpu_count(),
            "results": results,
            "memory_ratio": results[-1]["fit"]["peak_megabytes"] / results[0]["fit"]["peak_megabytes"],
            "by_pairs": by_pairs,
            "versions": {name: version(name) for name in ("bict", "pyarrow", "numpy", "torch")}
            | {"python": platform.python_version()},
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
