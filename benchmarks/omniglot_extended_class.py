"""Omniglot, official split, old model trained on 30 % of the training classes, three seeds: the plain recipe.

    python benchmarks/omniglot_extended_class.py --json benchmarks/records/omniglot_extended_class.json

Takes about 8 minutes a seed on 2 cores. A killed benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bict.cli.progress import terminal_steps
from bict.data import SplitPlan, load_images
from bict.experiments import RunPlan, run_upgrade
from bict.reports import ResultRecord
from bict.runs import write_json
from bict.training import TrainSettings

SCORES = ("map", "recall@1", "recall@10")
FIGURES = ("recovered_share", "update_gain", "compatibility_tax", "negative_flip_rate", "positive_flip_rate")
COMMAND = "python benchmarks/omniglot_extended_class.py"


def plan(seed: int) -> RunPlan:
    """The old model is narrow and sees 30 % of the classes; the new one is wider and sees all of them."""
    return RunPlan(
        split=SplitPlan(scenario="extended-class", old_share=0.3, seed=seed),
        old=TrainSettings(backbone="conv-small", epochs=12, seed=seed),
        new=TrainSettings(backbone="conv-base", epochs=10, backward_loss="influence", seed=seed),
        seed=seed,
    )


def run(root: Path, out: Path, seeds: list[int]) -> list[ResultRecord]:
    images = load_images("omniglot", root=root)
    with terminal_steps() as steps:
        return [run_upgrade(images, plan(seed), out / f"seed-{seed}", steps=steps, command=COMMAND) for seed in seeds]


def summarise(records: list[ResultRecord]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of every row and figure."""
    dumped = [record.model_dump(mode="json", by_alias=True) for record in records]
    names = [row["name"] for row in dumped[0]["rows"]]
    rows = [
        {"name": name, **{key: _spread([record["rows"][place][key] for record in dumped]) for key in SCORES}}
        for place, name in enumerate(names)
    ]
    return {"rows": rows, "figures": {key: _spread([record[key] for record in dumped]) for key in FIGURES}}


def _spread(values: list[float]) -> dict[str, Any]:
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "sd": sd, "values": values}


def show(summary: dict[str, Any]) -> None:
    table = Table("row", *SCORES, box=None)
    for row in summary["rows"]:
        table.add_row(row["name"], *(f"{row[key]['mean']:.3f} ± {row[key]['sd']:.3f}" for key in SCORES))
    console = Console()
    console.print(table)
    for key, value in summary["figures"].items():
        console.print(f"{key:<20} {value['mean']:+.3f} ± {value['sd']:.3f}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_root = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data-root", type=Path, default=default_root, help="folder of omniglot28.npz")
    parser.add_argument("--out", type=Path, default=Path("runs/omniglot"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    records = run(options.data_root, options.out, options.seeds)
    summary = summarise(records)
    show(summary)
    if options.json:
        kept = {"counts", "rows", "timing", "versions", "config", "spaces", "ladder", "free_ladder", *FIGURES}
        runs = [record.model_dump(mode="json", by_alias=True, include=kept) for record in records]
        machine = {"cores": os.cpu_count()}
        write_json(options.json, {"command": COMMAND, "machine": machine, "summary": summary, "runs": runs})


if __name__ == "__main__":
    main()
