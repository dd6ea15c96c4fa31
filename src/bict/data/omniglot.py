"""Omniglot: 1,623 hand-drawn characters, 20 drawings each, in the official 964 training / 659 evaluation classes.

Lake, Salakhutdinov, Tenenbaum: "Human-level concept learning through probabilistic program induction", Science 2015.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bict.arrays import read_arrays
from bict.data.images import ArrayPixels, ImageSet
from bict.errors import DataError

SIZE = 28
FILE = "omniglot28.npz"
PARTS = {"train": "b", "evaluation": "e"}
Drawings = tuple[NDArray[np.uint8], NDArray[np.int64]]


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


def _read_packed(path: Path) -> dict[str, Drawings]:
    try:
        arrays = read_arrays(path)
        return {part: _unpack(arrays[f"x{key}"], arrays[f"y{key}"]) for part, key in PARTS.items()}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not the packed Omniglot file (xb, yb, xe, ye): {error}") from error


def _unpack(bits: NDArray[Any], classes: NDArray[Any]) -> Drawings:
    """Drawings of 1 bit a pixel, `(images, 98)` uint8, with their classes `(images,)`."""
    if bits.dtype != np.uint8 or bits.ndim != 2 or bits.shape[1] * 8 != SIZE * SIZE:
        raise ValueError(f"expected (images, {SIZE * SIZE // 8}) uint8, found {bits.shape} {bits.dtype}")
    if classes.dtype.kind not in "iu" or classes.shape != bits.shape[:1] or not len(classes) or classes.min() < 0:
        raise ValueError(f"expected one class number for each of {len(bits)} images")
    pixels = np.unpackbits(bits, axis=1).reshape(-1, SIZE, SIZE) * np.uint8(255)
    return pixels, classes.astype(np.int64)


def _fetch(folder: Path) -> dict[str, Drawings]:
    from torchvision.datasets import Omniglot  # noqa: PLC0415  (costs a second, and only this path needs it)

    drawn = {}
    for part in PARTS:
        try:
            original = Omniglot(str(folder), background=part == "train", download=True)
            pixels, classes = zip(*((shrink(image), label) for image, label in original), strict=True)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                (folder / "omniglot-py").rmdir()  # torchvision leaves it behind empty
            problem = str(error).splitlines()[0]
            raise DataError(
                f"no {FILE} in {folder.absolute()} and Omniglot cannot be fetched ({problem}): "
                "name the folder that holds it with --data-root"
            ) from error
        drawn[part] = (np.stack(pixels), np.array(classes))
    return drawn


def shrink(image: Image.Image) -> NDArray[np.uint8]:
    """An original drawing (105x105, black on white) as `(28, 28)` uint8, ink 255 on 0."""
    ink = Image.fromarray(255 - np.asarray(image.convert("L")))
    small = np.asarray(ink.resize((SIZE, SIZE), Image.Resampling.BOX))
    return ((small > 64) * 255).astype(np.uint8)
