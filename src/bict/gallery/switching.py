"""Which column is searched: switch, roll back, discard; each one metadata write."""

from __future__ import annotations

from bict.errors import GalleryError
from bict.gallery.gallery import Gallery
from bict.gallery.metadata import Column


def switch(gallery: Gallery) -> str:
    """Search the staged column from now on, in one atomic step, and return its name; the column before is kept.

    Raises:
        GalleryError: nothing is staged, it was not verified, or rows were added or changed since it was.
    """
    metadata = gallery.metadata
    column = _require_staged(gallery)
    if column.state == "staging":
        raise GalleryError(f"column {column.name!r} of {gallery.address} is half staged: finish with bict upgrade run")
    if column.checked is None:
        raise GalleryError(f"column {column.name!r} of {gallery.address} was not verified: bict upgrade verify first")
    needed = dict.fromkeys([*column.sources, metadata.active])
    gallery.store.publish(metadata.switched_to(column.name).model_dump_json(), column.name, list(needed))
    return column.name


def rollback(gallery: Gallery, *, leave_out: bool = False) -> str:
    """Search the column that was live before, in one atomic step, and return its name; the newer one waits as staged.

    Args:
        gallery: what to roll back.
        leave_out: go back although rows written since the switch have no vector there; they stay stored, and are not
            found until the gallery is switched forward again, or until they are embedded for the older column.

    Raises:
        GalleryError: no older column is kept, or rows would not be found any more (with their number).
    """
    metadata = gallery.metadata
    live, older = metadata.active_column, metadata.previous
    if metadata.staged:
        raise GalleryError(
            f"column {metadata.staged.name!r} of {gallery.address} is {metadata.staged.state} and not live: nothing to "
            f"roll back, {live.name!r} is searched; give the staged column up with bict upgrade discard"
        )
    if older is None:
        raise GalleryError(f"{gallery.address} keeps no column from before {live.name!r}: nothing to roll back to")
    lost = gallery.store.count_missing([live.name], [older.name])
    if lost and not leave_out:
        raise GalleryError(
            f"{lost} rows have no vector in {older.name!r}: they were written in the new space since the switch. Roll "
            "back with --leave-out to keep them stored but not found, then embed them with the old model"
        )
    going_back = metadata.switched_to(older.name, "staged").changed(live.name, checked=None)
    gallery.store.write_metadata(going_back.model_dump_json())
    return older.name


def discard(gallery: Gallery) -> str:
    """Give up the column that is staged or half staged, and return its name; the live column is not touched.

    Raises:
        GalleryError: nothing is staged, or rows have their only vector there (with their number).
    """
    column = _require_staged(gallery)
    gallery.store.drop_column(column.name, [name for name in gallery.metadata.stored if name != column.name])
    gallery.edit(lambda newest: newest.without(column.name))
    return column.name


def _require_staged(gallery: Gallery) -> Column:
    staged = gallery.metadata.staged
    if staged is None:
        raise GalleryError(
            f"no column of {gallery.address} is staged, {gallery.active_column!r} is live: bict upgrade run stages one"
        )
    return staged
