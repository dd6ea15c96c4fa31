"""`bict upgrade`: stored old vectors to upgraded ones, without one image."""

from __future__ import annotations

from pathlib import Path

from bict.gallery import Gallery, UpgradeReport
from bict.gallery import upgrade as upgrade_gallery
from bict.progress import Progress, silent
from bict.transforms import Transform


def upgrade(gallery: Path, transform: Path, *, progress: Progress = silent) -> UpgradeReport:
    """Stage the upgraded vectors beside the old ones, verify them, and switch to them in one step.

    No image is read: only the gallery and the transform may be opened, no connection made. Old vectors are kept.

    Args:
        gallery: address of the gallery.
        transform: directory of the transform.
        progress: called with rows staged and rows in all.

    Raises:
        BictError: the gallery or the transform cannot be used, or a check failed; the old vectors stay live.
    """
    return upgrade_gallery(Gallery.open(gallery), Transform.load(transform), progress=progress)
