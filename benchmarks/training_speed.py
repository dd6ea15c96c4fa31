"""Images a second of the training loop against a plain PyTorch loop over the same encoder, loss, optimiser and images.

    python benchmarks/training_speed.py --json benchmarks/records/training_speed.json

Both train on the built-in glyphs without augmentation, an epoch each in turn, several rounds; the figure is the median
of the ratios. The plain loop holds all pixels in one tensor, and does nothing but what a training step needs.

Then our loop trains on a folder of JPEGs, made for this run, with augmentation as by default, and with and without
keeping decoded pixels in memory, an epoch each in turn: in the first one all are decoded, and the later ones count.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from bict.data import ImageSet, load_images
from bict.data.kept_pixels import keep_pixels
from bict.losses import build_classification
from bict.models import Encoder, Preprocessing, default_preprocessing
from bict.runs import write_json
from bict.training import TrainSettings
from bict.training.loop import Loop, Trainee, learning_rate, make_optimizer
from bict.training.train import PIXEL_CACHE

PHOTO = (640, 480)
PER_CLASS = 20


def trainee(images: ImageSet, settings: TrainSettings, classes: int) -> Trainee:
    """Fresh weights of encoder and classifier, and their optimiser."""
    torch.manual_seed(settings.seed)
    encoder = Encoder(settings.backbone, settings.pooling, settings.dim, images.source.channels)
    encoder = encoder.to(memory_format=torch.channels_last)
    classification = build_classification(
        settings.classification, classes, encoder.dim, scale=settings.scale, margin=settings.margin
    )
    return Trainee(encoder, classification, make_optimizer([encoder, classification], settings))


def plain_epoch(
    model: Trainee,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    preprocessing: Preprocessing,
    settings: TrainSettings,
    epoch: int,
) -> float:
    """Seconds of one epoch of a plain loop with the same learning rates, for speed depends on the weights, too."""
    model.encoder.train()
    began = time.perf_counter()
    batches = [rows for rows in torch.randperm(len(labels)).split(settings.batch_size) if len(rows) > 1]
    for step, rows in enumerate(batches):
        for group in model.optimizer.param_groups:
            group["lr"] = learning_rate(
                epoch * len(batches) + step, settings.epochs * len(batches), settings.peak, settings.warm_up
            )
        unit = (pixels[rows].permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
        loss = model.classification(model.encoder(preprocessing.normalise(unit)), labels[rows])
        model.optimizer.zero_grad()
        loss.backward()
        model.optimizer.step()
    return time.perf_counter() - began


def measure(backbone: str, rounds: int, limit: int) -> dict[str, object]:
    """Images a second of both loops, round after round, and the median of their ratios."""
    images = load_images("glyphs")
    images = images.take(np.arange(min(limit or len(images), len(images))))
    settings = TrainSettings(backbone=backbone, augment=False, epochs=rounds + 1)
    names, numbers = np.unique(images.labels.astype(str), return_inverse=True)
    labels = torch.from_numpy(numbers)
    preprocessing = default_preprocessing(backbone, images.source.channels, images.source.own_size)
    ours = Loop(trainee(images, settings, len(names)), images, labels, preprocessing, settings)
    plain = trainee(images, settings, len(names))
    pixels = torch.from_numpy(images.pixels(np.arange(len(images)), preprocessing.size, preprocessing.channels))
    found: dict[str, list[float]] = {"bict": [], "plain": []}
    for epoch in range(rounds + 1):  # the first one warms up
        seconds = {"bict": ours.run_epoch(epoch)["seconds"]}
        seconds["plain"] = plain_epoch(plain, pixels, labels, preprocessing, settings, epoch)
        for name, rates in found.items():
            rates.append(len(images) / seconds[name])
    kept = {name: rates[1:] for name, rates in found.items()}
    ratios = [one / other for one, other in zip(kept["bict"], kept["plain"], strict=True)]
    return {
        **{"backbone": backbone, "images": len(images), "images_per_second": kept, "ratios": ratios},
        "ratio": statistics.median(ratios),
    }


def write_photos(folder: Path, number: int) -> None:
    """JPEGs of 640 x 480 pixels in folders of classes: a smooth colour field with fine grain, 100 kB or so each."""
    rng = np.random.default_rng(0)
    for row in range(number):
        path = folder / f"class {row // PER_CLASS:03d}" / f"{row:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        field = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(PHOTO, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 12, (*PHOTO[::-1], 1))
        Image.fromarray(np.clip(np.asarray(field) + grain, 0, 255).astype(np.uint8)).save(path, quality=88)


def measure_photos(backbone: str, number: int, rounds: int) -> dict[str, object]:
    """Images a second of our loop on photos, epoch after epoch, with kept pixels and without."""
    with tempfile.TemporaryDirectory(prefix="bict-photos-") as folder:
        write_photos(Path(folder), number)
        photos = load_images(folder)
        settings = TrainSettings(backbone=backbone, epochs=rounds + 1)
        names, numbers = np.unique(photos.labels.astype(str), return_inverse=True)
        labels = torch.from_numpy(numbers)
        preprocessing = default_preprocessing(backbone, photos.source.channels, photos.source.own_size)
        kept = keep_pixels(photos, preprocessing.size, preprocessing.channels, PIXEL_CACHE * 2**20)
        loops = {
            name: Loop(trainee(images, settings, len(names)), images, labels, preprocessing, settings)
            for name, images in (("kept", kept), ("decoded", photos))
        }
        seconds = [
            {name: loop.run_epoch(epoch)["seconds"] for name, loop in loops.items()} for epoch in range(rounds + 1)
        ]
    rates = {name: [number / one[name] for one in seconds] for name in loops}
    ratios = [one / other for one, other in zip(rates["kept"][1:], rates["decoded"][1:], strict=True)]
    about = {"backbone": backbone, "photos": number, "pixels": PHOTO, "size": preprocessing.size}
    return {**about, "images_per_second": rates, "ratios": ratios, "ratio": statistics.median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["conv-small", "conv-base"])
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each loop that count")
    parser.add_argument("--images", type=int, default=0, help="so many of the glyphs (default: all)")
    parser.add_argument("--photos", type=int, default=1000, help="JPEGs to train on; 0 leaves them out")
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    results = [measure(backbone, options.rounds, options.images) for backbone in options.backbones]
    photos = [measure_photos(one, options.photos, options.rounds) for one in options.backbones if options.photos]
    table = Table("backbone", "bict, images/s", "plain, images/s", "ratio", box=None)
    for one in results:
        rates = [f"{statistics.median(one['images_per_second'][name]):,.0f}" for name in ("bict", "plain")]
        table.add_row(one["backbone"], *rates, f"{one['ratio']:.3f}")
    Console().print(table)
    table = Table("backbone", "kept, images/s", "decoded, images/s", "ratio", "first epoch, images/s", box=None)
    for one in photos:
        rates = one["images_per_second"]
        later = [f"{statistics.median(rates[name][1:]):,.0f}" for name in ("kept", "decoded")]
        table.add_row(one["backbone"], *later, f"{one['ratio']:.2f}", f"{rates['kept'][0]:,.0f}")
    Console().print(table)
    if options.json:
        packages = {name: version(name) for name in ("bict", "torch")} | {"python": platform.python_version()}
        command = " ".join(["python", "benchmarks/training_speed.py", *sys.argv[1:]])
        about = {"benchmark": "training_speed", "command": command, "threads": torch.get_num_threads()}
        write_json(options.json, {**about, "results": results, "photos": photos, "versions": packages})


if __name__ == "__main__":
    main()
