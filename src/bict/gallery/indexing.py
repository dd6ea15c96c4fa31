"""The approximate-nearest-neighbour index of a staged column, built before it goes live."""

from __future__ import annotations

from bict.errors import GalleryError
from bict.gallery.gallery import Gallery
from bict.progress import Progress, silent


def build_index(gallery: Gallery, name: str | None = None, *, progress: Progress = silent) -> str:
    """Build the index of a column and say what it is; unnamed, of the staged one, or of the live where none is staged.

    Args:
        gallery: searches of its live column go on meanwhile.
        name: of the column.
        progress: called, perhaps from another thread, with parts done and parts in all.

    Raises:
        GalleryError: the column is still being staged: an index is never built under a column that is written to.
    """
    metadata = gallery.metadata
    column = metadata.columns[name] if name else metadata.staged or metadata.active_column
    if column.state == "staging":
        raise GalleryError(f"column {column.name!r} of {gallery.address} is half staged: finish with bict upgrade run")
    description = gallery.store.build_index(column.name, column.space.metric, progress)
    gallery.edit(lambda newest: newest.changed(column.name, index=description))
    return description
