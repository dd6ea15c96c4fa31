"""Which column is searched: one metadata commit."""

from __future__ import annotations

import shutil

from bict.errors import GalleryError
from bict.gallery.gallery import Gallery
from bict.gallery.metadata import VECTOR_COLUMN
from bict.gallery.staging import ledger_folder


def switch(gallery: Gallery, column: str) -> None:
    """Search a staged column from now on, in one atomic step; the column before stays as kept.

    Raises:
        GalleryError: the column is not staged.
    """
    _require_staged(gallery, column)
    gallery.edit(lambda newest: newest.switched_to(column))


def discard(gallery: Gallery, column: str) -> None:
    """Give up a column that is staged or half staged, with its ledger; the live column is not touched.

    Raises:
        GalleryError: the column is live or kept, or nothing of it was ever staged.
    """
    known = gallery.metadata.columns.get(column)
    begun = known is None and VECTOR_COLUMN.fullmatch(column) and ledger_folder(gallery, column).is_dir()
    if not begun:
        _require_staged(gallery, column)
        gallery.edit(lambda newest: newest.without(column))
    gallery.store.drop_column(column)
    shutil.rmtree(ledger_folder(gallery, column), ignore_errors=True)


def _require_staged(gallery: Gallery, column: str) -> None:
    found = gallery.metadata.columns.get(column)
    if found is None or found.state != "staged":
        state = found.state if found else "absent"
        raise GalleryError(
            f"column {column!r} of {gallery.address} is {state}, expected a staged column: stage it first"
        )
