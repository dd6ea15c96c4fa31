"""Images a second of the training loop against a plain PyTorch loop over the same encoder, loss, optimiser and images.

    python benchmarks/training_speed.py --json benchmarks/records/training_speed.json

Both train on the built-in glyphs without augmentation, an epoch each in turn, several rounds; the figure is the median
of the ratios. The plain loop holds all pixels in one tensor, and does nothing but what a training step needs.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bict.data import ImageSet, load_images
from bict.losses import build_classification
from bict.models import Encoder, Preprocessing, default_preprocessing
from bict.runs import write_json
from bict.training import TrainSettings
from bict.training.loop import Loop, Trainee, make_optimizer

COMMAND = "python benchmarks/training_speed.py"


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
    model: Trainee, pixels: torch.Tensor, labels: torch.Tensor, preprocessing: Preprocessing, size: int
) -> float:
    """Seconds of one epoch of a plain loop."""
    model.encoder.train()
    began = time.perf_counter()
    for rows in torch.randperm(len(labels)).split(size):
        if len(rows) < 2:
            continue
        unit = (pixels[rows].permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
        loss = model.classification(model.encoder(preprocessing.normalise(unit)), labels[rows])
        model.optimizer.zero_grad()
        loss.backward()
        model.optimizer.step()
    return time.perf_counter() - began


def measure(backbone: str, rounds: int) -> dict[str, object]:
    """Images a second of both loops, round after round, and the median of their ratios."""
    images = load_images("glyphs")
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
        seconds["plain"] = plain_epoch(plain, pixels, labels, preprocessing, settings.batch_size)
        for name, rates in found.items():
            rates.append(len(images) / seconds[name])
    kept = {name: rates[1:] for name, rates in found.items()}
    ratios = [one / other for one, other in zip(kept["bict"], kept["plain"], strict=True)]
    return {
        **{"backbone": backbone, "images": len(images), "images_per_second": kept, "ratios": ratios},
        "ratio": statistics.median(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["conv-small", "conv-base"])
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each loop that count")
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    results = [measure(backbone, options.rounds) for backbone in options.backbones]
    table = Table("backbone", "bict, images/s", "plain, images/s", "ratio", box=None)
    for one in results:
        rates = [f"{statistics.median(one['images_per_second'][name]):,.0f}" for name in ("bict", "plain")]
        table.add_row(one["backbone"], *rates, f"{one['ratio']:.3f}")
    Console().print(table)
    if options.json:
        packages = {name: version(name) for name in ("bict", "torch")} | {"python": platform.python_version()}
        about = {"benchmark": "training_speed", "command": COMMAND, "threads": torch.get_num_threads()}
        write_json(options.json, {**about, "results": results, "versions": packages})


if __name__ == "__main__":
    main()
