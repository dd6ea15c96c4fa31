"""`bict search`: query images to the nearest gallery items."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bict.data.images import FilePixels, ImageSet
from bict.gallery import Gallery, SearchResult
from bict.models import Model, embed_images


def search(gallery: str, images: list[Path], *, model: Path, k: int = 10, exact: bool = True) -> SearchResult:
    """Find the gallery items nearest to each image.

    Refuses a model whose queries may not be compared with the gallery's active vectors.

    Args:
        gallery: address of the gallery.
        images: image files.
        model: directory of the model that embeds the queries.
        k: hits per image.
        exact: compare with every row; without it the index is used where there is one.

    Raises:
        BictError: the gallery, the model or an image cannot be used, or the spaces are not comparable.
    """
    opened = Gallery.open(gallery)
    paths = [Path(path) for path in images]
    names = np.array([f"{number}:{path}" for number, path in enumerate(paths)])
    blank = np.full(len(paths), "")
    queries = embed_images(Model.load(model), ImageSet("queries", "photos", names, blank, blank, FilePixels(paths)))
    include = [name for name in ("label",) if name in opened.payload_columns]
    return opened.search(queries, k, include=include, exact=exact)
