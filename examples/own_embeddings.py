"""Two published backbones, nothing trained: vectors of both for the same photos, the verdict, and the transform.

    python examples/own_embeddings.py --photos PHOTOS --out runs/own

Old: EfficientNet-Lite0 at 64 pixels. New: EfficientNet-Lite2 at 192 pixels. PHOTOS is a folder with one folder per
class, such as the Grocery Store Dataset (Klasson et al., WACV 2019, MIT). With `--old-size 128` the old model is good
enough that the right answer is not to upgrade.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import bict
from bict.cli.progress import terminal_steps
from bict.cli.show_assessment import assess as show
from bict.progress import Steps

PUBLISHED = {"epochs": 0, "dim": 0, "weights": "packaged", "pooling": "average"}


def embed(photos: Path, out: Path, name: str, backbone: str, size: int, steps: Steps) -> Path:
    """Vectors of all photos under a published backbone, with their labels and the model's space card, as Parquet."""
    vectors = out / f"{name}.parquet"
    if not vectors.exists():
        settings = bict.TrainSettings(backbone=backbone, size=size, **PUBLISHED)  # type: ignore[arg-type]
        bict.train(data=str(photos), out=out / f"{name}-model", settings=settings)
        with steps(f"embed with {name}") as progress:
            bict.embed(out / f"{name}-model", f"{photos}:all", to=str(vectors), progress=progress)
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder with one folder per class")
    parser.add_argument("--out", type=Path, default=Path("runs/own"))
    parser.add_argument("--old-size", type=int, default=64, help="image side of the old model")
    parser.add_argument("--new-size", type=int, default=192, help="image side of the new model")
    options = parser.parse_args()
    with terminal_steps() as steps:
        old = embed(options.photos, options.out, f"lite0-{options.old_size}", "timm:tf_efficientnet_lite0",
                    options.old_size, steps)  # fmt: skip
        new = embed(options.photos, options.out, f"lite2-{options.new_size}", "timm:tf_efficientnet_lite2",
                    options.new_size, steps)  # fmt: skip
        verdict = bict.assess(old=old, new=new, out=options.out / "assessment", steps=steps)
    show(verdict, as_json=False)
    if verdict.verdict == "upgrade":
        psi = bict.fit(old=old, new=new, rung=verdict.chosen, out=options.out / "psi")
        print(f"\n{psi} is in {options.out / 'psi'}: bict upgrade GALLERY {options.out / 'psi'}")


if __name__ == "__main__":
    main()
