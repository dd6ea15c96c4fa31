"""Photos that are decoded once and then kept in memory, up to a limit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.data.images import ArrayPixels, ImageSet, PixelSource


@dataclass(eq=False)
class KeptPixels:
    """A source that keeps pixels of one shape as they are first read; what has no room is read each time.

    The first ones stay: where every image is read once an epoch in an order of its own, none is worth more.

    Attributes:
        source: of the pixels.
        shape: size and channels of what is kept; a read of another shape goes through to the source.
        limit: bytes of pixels to keep.
    """

    source: PixelSource
    shape: tuple[int, int]
    limit: int
    _kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def channels(self) -> int:
        """Those of the source."""
        return self.source.channels

    @property
    def own_size(self) -> int:
        """That of the source."""
        return self.source.own_size

    def read(self, rows: NDArray[Any], size: int, channels: int) -> NDArray[np.uint8]:
        """Pixels of the rows, `(rows, size, size, channels)` uint8, as the source gives them."""
        if (size, channels) != self.shape or not len(rows):
            return self.source.read(rows, size, channels)
        wanted = rows.tolist()
        missing = [row for row in dict.fromkeys(wanted) if row not in self._kept]
        fresh: dict[int, NDArray[np.uint8]] = {}
        if missing:
            fresh = dict(zip(missing, self.source.read(np.array(missing), size, channels), strict=True))
            room = self.limit // (size * size * channels) - len(self._kept)
            self._kept |= {row: pixels.copy() for row, pixels in islice(fresh.items(), room)}
        return np.stack([fresh[row] if row in fresh else self._kept[row] for row in wanted])


def keep_pixels(images: ImageSet, size: int, channels: int, limit: int) -> ImageSet:
    """The images, whose pixels of one shape are kept up to so many bytes; unchanged where they lie in memory anyway."""
    if isinstance(images.source, ArrayPixels) or limit < size * size * channels:
        return images
    return replace(images, source=KeptPixels(images.source, (size, channels), limit))
