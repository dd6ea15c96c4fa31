"""A labelled set of images, read from memory or decoded from files on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bict.errors import DataError

Kind = Literal["characters", "photos"]
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class PixelSource(Protocol):
    """Where pixels come from."""

    channels: int
    own_size: int

    def read(self, rows: NDArray[Any], size: int) -> NDArray[np.uint8]:
        """Pixels of the rows, `(rows, size, size, channels)` uint8."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with an id, a class label and, where the data prescribes one, a part each.

    Attributes:
        name: name of the data set.
        kind: decides augmentation and the default image size.
        ids: `(images,)` unique strings.
        labels: `(images,)` class names.
        parts: `(images,)` "train", "evaluation", "query" or "gallery" where the data prescribes it, else "".
        source: reads the pixels.
        skipped: names of the unreadable images that were left out.
    """

    name: str
    kind: Kind
    ids: NDArray[Any]
    labels: NDArray[Any]
    parts: NDArray[Any]
    source: PixelSource
    skipped: tuple[str, ...] = ()
    rows: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def pixels(self, index: NDArray[Any], size: int) -> NDArray[np.uint8]:
        """Pixels of some images of this set, `(images, size, size, channels)` uint8."""
        return self.source.read(index if self.rows is None else self.rows[index], size)

    def take(self, index: NDArray[Any]) -> ImageSet:
        """The images selected by an index array, in its order; the pixels are shared."""
        rows = np.asarray(index if self.rows is None else self.rows[index])
        picked = (self.ids[index], self.labels[index], self.parts[index])
        return ImageSet(self.name, self.kind, *picked, self.source, self.skipped, rows)

    def classes(self) -> list[str]:
        """Sorted class names."""
        return [str(name) for name in np.unique(self.labels)]


@dataclass(frozen=True, eq=False)
class ArrayPixels:
    """Grey images held in memory, `(images, height, width)` uint8."""

    array: NDArray[np.uint8]
    channels: int = 1

    @property
    def own_size(self) -> int:
        """Height of the stored images."""
        return int(self.array.shape[1])

    def read(self, rows: NDArray[Any], size: int) -> NDArray[np.uint8]:
        """Pixels of the rows; another size than the stored one is resampled."""
        picked = self.array[rows]
        if picked.shape[1:] != (size, size):
            resized = [np.asarray(Image.fromarray(image).resize((size, size))) for image in picked]
            picked = np.stack(resized) if resized else np.zeros((0, size, size), np.uint8)
        return picked[..., None]


@dataclass(frozen=True, eq=False)
class FilePixels:
    """Photos on disk, decoded when asked for."""

    paths: Sequence[Path]
    channels: int = 3
    own_size: int = 128

    def read(self, rows: NDArray[Any], size: int) -> NDArray[np.uint8]:
        """Pixels of the rows, each photo scaled by its short side and cropped to the centre."""
        if not len(rows):
            return np.zeros((0, size, size, 3), np.uint8)
        return np.stack([read_photo(self.paths[row], size) for row in rows])


def read_photo(path: Path, size: int) -> NDArray[np.uint8]:
    """One photo as `(size, size, 3)` uint8: upright, short side scaled to `size`, centre crop.

    Raises:
        DataError: the file is gone, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * size, 2 * size))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC))
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
