"""Simulates a cluster that stages a billion rows, and sets the forecast of `bict upgrade plan --workers` beside it.

    python benchmarks/cluster_model.py --json benchmarks/records/cluster_model.json

No cluster is at hand here. One worker's rate and the size of vectors are those of the record of upgrade_throughput.py;
storage is one queue of so many bytes a second that all workers share; the driver writes one ledger entry after another;
units take more or less time, and some workers die and their unit is done again by a new one. The forecast knows the
rate and the workers only: where storage bounds it, its figure for the bytes that must move says so.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bict.runs import write_json

RECORD = Path(__file__).parent / "records" / "upgrade_throughput.json"
UNIT_ROWS, DRIVER_SECONDS, START_SECONDS = 65_536, 0.005, 5.0
SPREAD, DEATHS = 0.15, 0.001
"""Standard deviation of the logarithm of a unit's time, and the share of units over which a worker dies."""
WORKERS, GIGABYTES = (1, 16, 64, 256), (1.0, 10.0, 100.0)


@dataclass
class Queue:
    """Something that serves one after the other."""

    free_at: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When what comes now and takes so long is done."""
        self.free_at = max(now, self.free_at) + seconds
        return self.free_at


def simulate(units: int, workers: int, compute: float, transfer: float, seed: int) -> float:
    """Seconds until the last unit is in the ledger: read and write through one storage, compute, one driver.

    Args:
        units: to stage.
        workers: at the same time.
        compute: seconds of a unit in one worker.
        transfer: seconds of reading a unit from the storage, and of writing it, each.
        seed: of the spread and of the deaths.
    """
    rng = np.random.default_rng(seed)
    storage, driver = Queue(), Queue()
    events = [(START_SECONDS, worker, "read") for worker in range(workers)]
    left, done, end = units, 0, 0.0
    while done < units:
        now, worker, phase = heapq.heappop(events)
        if phase == "read" and left:
            left -= 1
            heapq.heappush(events, (storage.serve(now, transfer), worker, "compute"))
        elif phase == "compute":
            taken = compute * math.exp(SPREAD * rng.standard_normal() - SPREAD**2 / 2)
            if rng.random() < DEATHS:
                left += 1
                heapq.heappush(events, (now + rng.random() * taken + START_SECONDS, worker, "read"))
            else:
                heapq.heappush(events, (now + taken, worker, "write"))
        elif phase == "write":
            heapq.heappush(events, (storage.serve(now, transfer), worker, "record"))
        elif phase == "record":
            end, done = driver.serve(now, DRIVER_SECONDS), done + 1
            heapq.heappush(events, (end, worker, "read"))
    return end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    measured = json.loads(RECORD.read_text())
    one = next(result for result in measured["results"] if result["transform"] == "mlp")
    rate = one["staging_rows_per_second"] / one["cores_busy_while_staging"]
    unit_bytes = 4 * measured["dim"] * UNIT_ROWS
    units, results = math.ceil(options.rows / UNIT_ROWS), []
    table = Table("workers", "storage, GB/s", "forecast, hours", "needs, GB/s", "simulated, hours", "ratio")
    for workers in WORKERS:
        for gigabytes in GIGABYTES:
            seconds = simulate(units, workers, UNIT_ROWS / rate, unit_bytes / gigabytes / 1e9, options.seed)
            forecast, needs = options.rows / rate / workers, workers * rate * 8 * measured["dim"] / 1e9
            bounded = max(forecast, 2 * units * unit_bytes / gigabytes / 1e9)
            result = {"workers": workers, "storage_gigabytes_per_second": gigabytes, "simulated_seconds": seconds}
            result |= {"forecast_seconds": forecast, "needs_gigabytes_per_second": needs}
            results.append(result | {"bounded_by_storage": needs > gigabytes, "ratio": bounded / seconds})
            hours = f"{bounded / 3600:.2f}" + (" (storage)" if needs > gigabytes else "")
            table.add_row(
                str(workers),
                f"{gigabytes:g}",
                hours,
                f"{needs:.2f}",
                f"{seconds / 3600:.2f}",
                f"{bounded / seconds:.2f}",
            )
    Console().print(table)
    if options.json:
        record = {"benchmark": "cluster_model", "command": "python benchmarks/cluster_model.py", "rows": options.rows}
        settings = {"unit_rows": UNIT_ROWS, "driver_seconds": DRIVER_SECONDS, "start_seconds": START_SECONDS}
        settings |= {"spread": SPREAD, "deaths": DEATHS, "rows_per_second_of_a_core": rate}
        write_json(options.json, record | {"settings": settings, "results": results})


if __name__ == "__main__":
    main()
