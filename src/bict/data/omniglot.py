"""Omniglot: 1,623 hand-drawn characters, 20 drawings each, in the official 964 training / 659 evaluation classes.

Lake, Salakhutdinov, Tenenbaum: "Human-level concept learning through probabilistic program induction", Science 2015.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bict.data.images import ArrayPixels, ImageSet
from bict.errors import DataError

SIZE = 28
FILE = "omniglot28.npz"
PARTS = {"train": "b", "evaluation": "e"}


def load_omniglot(root: Path | None = None) -> ImageSet:
    """Omniglot at 28x28, ink bright on black: `omniglot28.npz` of the root folder, else fetched by torchvision.

    Raises:
        DataError: the file is damaged, or it is absent and cannot be fetched.
    """
    folder = root or Path()
    drawn = _read_packed(folder / FILE) if (folder / FILE).is_file() else _fetch(folder)
    ids, labels, parts, images = [], [], [], []
    for part, (pixels, classes) in drawn.items():
        order = np.argsort(classes, kind="stable")
        counts = np.bincount(classes)
        drawing = np.concatenate([np.arange(count) for count in counts])
        names = [f"{part}-{label:04d}" for label in classes[order]]
        ids += [f"{name}/{number + 1:02d}" for name, number in zip(names, drawing, strict=True)]
        labels += names
        parts += [part] * len(names)
        images.append(pixels[order])
    source = ArrayPixels(np.concatenate(images))
    return ImageSet("omniglot", "characters", np.array(ids), np.array(labels), np.array(parts), source)


def _read_packed(path: Path) -> dict[str, tuple[NDArray[np.uint8], NDArray[Any]]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            packed = {part: (file[f"x{key}"], file[f"y{key}"]) for part, key in PARTS.items()}
        return {
            part: (np.unpackbits(bits, axis=1)[:, : SIZE * SIZE].reshape(-1, SIZE, SIZE) * np.uint8(255), classes)
            for part, (bits, classes) in packed.items()
        }
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is not the packed Omniglot file (xb, yb, xe, ye): {error}") from error


def _fetch(folder: Path) -> dict[str, tuple[NDArray[np.uint8], NDArray[Any]]]:
    from torchvision.datasets import Omniglot  # noqa: PLC0415  (costs a second, and only this path needs it)

    drawn = {}
    for part, background in (("train", True), ("evaluation", False)):
        try:
            original = Omniglot(str(folder), background=background, download=True)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"no {FILE} in {folder.absolute()} and Omniglot cannot be fetched ({error}): name its folder with --data-root"
            ) from error
        pixels, classes = zip(*((shrink(image), label) for image, label in original), strict=True)
        drawn[part] = (np.stack(pixels), np.array(classes))
    return drawn


def shrink(image: Image.Image) -> NDArray[np.uint8]:
    """An original drawing (105x105, black on white) as `(28, 28)` uint8, ink 255 on 0."""
    ink = Image.fromarray(255 - np.asarray(image.convert("L")))
    small = np.asarray(ink.resize((SIZE, SIZE), Image.Resampling.BOX))
    return ((small > 64) * 255).astype(np.uint8)
