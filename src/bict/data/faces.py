"""Pairs of faces that show one person, or two: verification, as on LFW, CFP or IJB-C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bict.data.images import FilePixels, ImageSet
from bict.data.screening import leave_out, photo_problems
from bict.data.tables import read_columns
from bict.errors import DataError, UnknownName

SAME = {"1": True, "true": True, "0": False, "false": False}
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class FacePairs:
    """Images and pairs of them.

    Attributes:
        images: every image that a pair names, once; no persons are known, so each image is a class of its own.
        first: `(pairs,)` row of the first image of each pair.
        second: `(pairs,)` row of the second.
        same: `(pairs,)` whether both show one person.
        left_out: pairs that were left out with an unreadable image.
    """

    images: ImageSet
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.same)


def load_face_pairs(
    path: Path, folder: Path | None = None, *, strict: bool = False, progress: Progress | None = None
) -> FacePairs:
    """Pairs of a CSV with the columns `path_a,path_b,same`, whose paths are relative to a folder (default: its own).

    `same` is 1 or true where both images show one person, else 0 or false. Every image is decoded once here; pairs
    with an unreadable one are left out.

    Raises:
        DataError: the file cannot be used, no pair is left, or with `strict` any image cannot be read.
        UnknownName: another value of `same`.
    """
    folder = (path.parent if folder is None else folder).absolute()
    first, second, flags = read_columns(path, ("path_a", "path_b", "same"))
    for number, (*names, flag) in enumerate(zip(first, second, flags, strict=True), 1):
        if flag.strip().lower() not in SAME:
            raise UnknownName(f"value of same in {path.name}, row {number}:", flag, SAME)
        if not all(names):
            raise DataError(f"{path}, row {number}: path_a and path_b must not be empty")
    ids = sorted({*first, *second})
    if not ids:
        raise DataError(f"{path} holds no pairs")
    paths = [folder / name for name in ids]
    kept, skipped = leave_out(ids, photo_problems(paths, progress), strict=strict)
    rows = {name: row for row, name in enumerate(np.array(ids)[kept].tolist())}
    pairs = [
        (rows[a], rows[b], SAME[flag.strip().lower()])
        for a, b, flag in zip(first, second, flags, strict=True)
        if a in rows and b in rows
    ]
    if not pairs:
        raise DataError(f"none of {len(first)} pairs of {path} has two images that can be read")
    blank = np.full(len(ids), "")
    images = ImageSet(path.stem, "photos", np.array(ids), np.array(ids), blank, FilePixels(paths), skipped)
    first_row, second_row, same = (np.array(column) for column in zip(*pairs, strict=True))
    return FacePairs(images.take(kept.nonzero()[0]), first_row, second_row, same, len(first) - len(pairs))
