"""`bict embed`: images to stored vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bict.data import DataAddress, ImageSet, load_part
from bict.embeddings import Embeddings
from bict.errors import GalleryError, SettingsError
from bict.gallery import Gallery
from bict.models import Model, embed_images
from bict.progress import Progress, silent
from bict.runs import require_writable
from bict.spaces import Space

FILES = {".parquet", ".npz"}
STREAM_ROWS = 8192


@dataclass(frozen=True)
class Embedded:
    """What was written: where, how many rows, of which space, and the unreadable images that were left out."""

    to: str
    rows: int
    space: Space
    skipped: tuple[str, ...]


def embed(
    model: Path,
    data: str,
    *,
    to: str,
    data_root: Path | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> Embedded:
    """Embed images and write the vectors to a gallery or a file.

    A gallery that exists already gets the rows added; its active space must be the model's.

    Args:
        model: directory of the model.
        data: glyphs, omniglot, a folder or a manifest; NAME:PART[,key=value] picks a part (default: all).
        to: address of the gallery to make or to add to, or FILE.parquet or FILE.npz.
        data_root: folder in which the data lies.
        strict: stop at the first unreadable image instead of leaving it out.
        progress: called with images done and images in all.

    Raises:
        BictError: the model, the data or the target cannot be used.
    """
    file = None if "://" in str(to) else Path(to)
    if file is not None and file.suffix == ".npy":
        raise SettingsError(f"{to}: name a file that ends in .parquet or .npz, or a folder for a gallery")
    if file is not None:
        require_writable(file.parent)
    loaded = Model.load(model)
    images = load_part(DataAddress.parse(data), root=data_root, strict=strict)
    if file is not None and file.suffix in FILES:
        embed_images(loaded, images, progress=progress).save(file)
    else:
        write_gallery(loaded, images, str(to), progress)
    return Embedded(str(to), len(images), loaded.space, images.skipped)


def write_gallery(model: Model, images: ImageSet, to: str, progress: Progress = silent) -> Gallery:
    """Make a gallery of the images' vectors, or add them to an existing one; memory holds one part at a time."""
    gallery = Gallery.find(to)
    if gallery is None:
        return Gallery.create(to, ((part, None) for part in _stream(model, images, progress)))
    if not gallery.active_space.same_as(model.space):
        raise GalleryError(
            f"{gallery.address} holds vectors of {gallery.active_space}, not of {model.space}: choose another --to"
        )
    gallery.add(embed_images(model, images, progress=progress))
    return gallery


def _stream(model: Model, images: ImageSet, progress: Progress) -> Iterator[Embeddings]:
    for start in range(0, len(images), STREAM_ROWS):
        part = images.take(np.arange(start, min(start + STREAM_ROWS, len(images))))
        yield embed_images(model, part, progress=_from(start, len(images), progress))


def _from(start: int, total: int, progress: Progress) -> Progress:
    """Progress of a part as progress of the whole."""
    return lambda done, _part: progress(start + done, total)
