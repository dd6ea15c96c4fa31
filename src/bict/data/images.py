"""A labelled set of images, read from memory or decoded from files on demand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bict.errors import DataError

Kind = Literal["characters", "photos"]
Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge of a crop in pixels of the stored image, counted from its upper left corner."""
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class Paths(Protocol):
    """Files by row number: a list, or paths that are composed when asked for."""

    def __getitem__(self, row: int, /) -> Path:
        """The file of a row."""


class PixelSource(Protocol):
    """Where pixels come from."""

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""

    @property
    def own_size(self) -> int:
        """Image side in pixels that fits the data."""

    def read(self, rows: NDArray[Any], size: int, channels: int) -> NDArray[np.uint8]:
        """Pixels of the rows, `(rows, size, size, channels)` uint8, with 1 channel (grey) or 3 (RGB)."""


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
        rows: `(images,)` where each image lies in the source; None where that is its own position.
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

    def pixels(self, index: NDArray[Any], size: int, channels: int) -> NDArray[np.uint8]:
        """Pixels of some images of this set, `(images, size, size, channels)` uint8, grey or RGB."""
        return self.source.read(self._source_rows()[index], size, channels)

    def take(self, index: NDArray[Any]) -> ImageSet:
        """The images selected by an index or boolean array, in its order; the pixels are shared."""
        picked = (self.ids[index], self.labels[index], self.parts[index])
        return ImageSet(self.name, self.kind, *picked, self.source, self.skipped, self._source_rows()[index])

    def classes(self) -> list[str]:
        """Sorted class names."""
        return [str(name) for name in np.unique(self.labels)]

    def _source_rows(self) -> NDArray[Any]:
        return np.arange(len(self)) if self.rows is None else self.rows


@dataclass(frozen=True, eq=False)
class ArrayPixels:
    """Grey images held in memory, `(images, height, width)` uint8."""

    array: NDArray[np.uint8]
    channels: int = 1

    @property
    def own_size(self) -> int:
        """Height of the stored images."""
        return int(self.array.shape[1])

    def read(self, rows: NDArray[Any], size: int, channels: int) -> NDArray[np.uint8]:
        """Pixels of the rows; another size than the stored one is resampled."""
        picked = self.array[rows]
        if picked.shape[1:] != (size, size):
            resized = [np.asarray(Image.fromarray(image).resize((size, size))) for image in picked]
            picked = np.stack(resized) if resized else np.zeros((0, size, size), np.uint8)
        return np.repeat(picked[..., None], channels, axis=3)


@dataclass(frozen=True, eq=False)
class FilePixels:
    """Photos on disk, decoded when asked for; a row with a box is cropped to it first."""

    paths: Paths
    channels: int = 3
    own_size: int = 128
    boxes: Mapping[int, Box] = field(default_factory=dict)

    def read(self, rows: NDArray[Any], size: int, channels: int) -> NDArray[np.uint8]:
        """Pixels of the rows, each photo scaled by its short side and cropped to the centre."""
        if not len(rows):
            return np.zeros((0, size, size, channels), np.uint8)
        with quiet_decoding(), ThreadPoolExecutor() as pool:
            return np.stack(list(pool.map(lambda row: self._read(int(row), size, channels), rows)))

    def _read(self, row: int, size: int, channels: int) -> NDArray[np.uint8]:
        return read_photo(self.paths[row], size, channels, self.boxes.get(row))


@contextmanager
def quiet_decoding() -> Iterator[None]:
    """Pillow's remarks are not for the caller: a photo decodes, or it is unreadable, as one of too many pixels is.

    Enter it once around all decoding threads: the filters it sets belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_photo(path: Path, size: int, channels: int = 3, box: Box | None = None) -> NDArray[np.uint8]:
    """One photo as `(size, size, channels)` uint8: upright, short side scaled to `size`, centre crop.

    What is transparent shows white, as in a viewer; 16 bits are scaled to 8. A box is rounded to whole pixels and
    clipped to the image, and cut out before anything else.

    Raises:
        DataError: the file is gone, truncated, too large or no image, or its box holds no pixel of it.
    """
    try:
        return _decode(path, size, channels, box)
    except Exception as error:  # a damaged file fails in as many ways as Pillow has decoders
        raise DataError(f"{path} cannot be read as an image: {_reason(error)}") from error


def photo_problem(path: Path, box: Box | None = None) -> str:
    """Why a photo cannot be read, or "" where it can; decodes all of it, at the smallest scale."""
    try:
        _decode(path, 8, 3, box)
    except Exception as error:  # as above
        return _reason(error)
    return ""


class _EmptyBox(ValueError):
    """A box that holds no pixel of its image."""


def _decode(path: Path, size: int, channels: int, box: Box | None) -> NDArray[np.uint8]:
    mode = "L" if channels == 1 else "RGB"
    with Image.open(path) as image:
        if box is None:
            image.draft(mode, (2 * size, 2 * size))
        upright = _as_mode(ImageOps.exif_transpose(image if box is None else _crop(image, box)), mode)
        fitted = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(fitted, dtype=np.uint8).reshape(size, size, channels)


def _crop(image: Image.Image, box: Box) -> Image.Image:
    left, upper, right, lower = (round(edge) for edge in box)
    edges = (max(left, 0), max(upper, 0), min(right, image.width), min(lower, image.height))
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise _EmptyBox(f"its box {box} holds no pixel of {image.width}x{image.height}")
    return image.crop(edges)


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert(mode)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission"
    if isinstance(error, _EmptyBox):
        return str(error)
    if isinstance(error, BOMBS):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels"
    return "truncated or no image"
