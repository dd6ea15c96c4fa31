"""Upgrade a gallery of photos between two published backbones that were never trained together.

    python examples/grocery_photos.py --photos PHOTOS

Old: EfficientNet-Lite0 at 64 pixels. New: EfficientNet-Lite2 at 192 pixels. Both with their ImageNet weights and no
training of ours. The forward transform is fitted on the photos of 50 classes and judged on the others: query = the
official test photos, gallery = the others. Photos: Grocery Store Dataset, Klasson et al., WACV 2019 (MIT).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import bict
from bict.cli.progress import terminal_steps
from bict.progress import Steps
from bict.runs import write_json

OLD = {"backbone": "timm:tf_efficientnet_lite0", "size": 64}
NEW = {"backbone": "timm:tf_efficientnet_lite2", "size": 192}
SCORES = ("map", "recall@1", "recall@10")


def write_manifest(photos: Path, path: Path, *, training: int, seed: int, classes: int, per_class: int) -> Path:
    """Draw the training classes; of the others, test photos are queries and the rest is the gallery."""
    names = sorted(folder.name for folder in photos.iterdir() if folder.is_dir())[:classes]
    drawn = set(np.random.default_rng(seed).permutation(names)[:training].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        for name in names:
            for side in ("test", "train"):
                for photo in sorted((photos / name).glob(f"{side}_*.jpg"))[:per_class]:
                    split = "train" if name in drawn else {"test": "query", "train": "gallery"}[side]
                    rows.writerow((photo.resolve(), name, split))
            for photo in sorted((photos / name).glob("val_*.jpg"))[:per_class]:
                rows.writerow((photo.resolve(), name, "train" if name in drawn else "gallery"))
    return path


def run(manifest: Path, out: Path, old: dict[str, object], new: dict[str, object], steps: Steps) -> dict[str, object]:
    """The upgrade, step by step: models as published, gallery, transform, upgrade, scores from the store."""
    data = str(manifest)
    published = {"epochs": 0, "dim": 0, "weights": "packaged", "pooling": "average"}
    models, gallery, transform = {"old": out / "old", "new": out / "new"}, out / "gallery", out / "psi"
    for name, settings in (("old", old), ("new", new)):
        bict.train(data=data, out=models[name], settings=bict.TrainSettings(**settings, **published))  # type: ignore[arg-type]

    with steps("embed gallery") as progress:
        bict.embed(models["old"], f"{data}:gallery", to=str(gallery), progress=progress)
    with steps("fit transform") as progress:
        psi = bict.fit(**models, data=data, out=transform, views=1, progress=progress)
    with steps("backfill, to compare") as progress:
        bict.embed(models["new"], f"{data}:gallery", to=str(out / "backfill.parquet"), progress=progress)

    before = bict.evaluate(str(gallery), model=models["old"], data=data)
    bict.upgrade(str(gallery), [transform], steps=steps)
    after = bict.evaluate(str(gallery), model=models["new"], data=data)
    backfill = bict.evaluate(str(out / "backfill.parquet"), model=models["new"], data=data)
    rows = {"old": before, "upgraded": after, "backfill": backfill}
    scores = {name: {**row.scores, "map_interval": row.intervals["map"]} for name, row in rows.items()}
    return {"chosen": psi.rung.name, "rows": scores}


def show(results: list[dict[str, object]]) -> None:
    table = Table("row", *SCORES, box=None, title=f"mean of {len(results)} seeds")
    for name in ("old", "upgraded", "backfill"):
        means = [np.mean([result["rows"][name][key] for result in results]) for key in SCORES]  # type: ignore[index]
        table.add_row(name, *(f"{value:.3f}" for value in means))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder with one folder per class")
    parser.add_argument("--out", type=Path, default=Path("runs/grocery"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--training", type=int, default=50, help="classes to fit on")
    parser.add_argument("--classes", type=int, default=None, help="use only the first classes")
    parser.add_argument("--per-class", type=int, default=None, help="use only the first photos of each side")
    parser.add_argument("--old-size", type=int, default=OLD["size"], help="image side of the old model")
    parser.add_argument("--new-size", type=int, default=NEW["size"], help="image side of the new model")
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    old, new = {**OLD, "size": options.old_size}, {**NEW, "size": options.new_size}
    results = []
    with terminal_steps() as steps:
        for seed in options.seeds:
            out = options.out / f"seed-{seed}"
            limits = {"training": options.training, "classes": options.classes, "per_class": options.per_class}
            manifest = write_manifest(options.photos, out / "photos.csv", seed=seed, **limits)
            results.append({"seed": seed, **run(manifest, out / "run", old, new, steps)})
    show(results)
    command = f"python examples/grocery_photos.py --photos PHOTOS --seeds {' '.join(map(str, options.seeds))}"
    if options.json:
        write_json(options.json, {"command": command, "old": old, "new": new, "runs": results})


if __name__ == "__main__":
    main()
