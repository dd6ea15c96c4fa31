"""Google Landmarks v2: training on its clean part, retrieval from its index part.

Weyand, Araujo, Cao, Sim: "Google Landmarks Dataset v2 - A Large-Scale Benchmark for Instance-Level Recognition and
Retrieval", CVPR 2020, arXiv 2004.01804.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bict.data.images import FilePixels, ImageSet
from bict.data.screening import leave_out
from bict.data.tables import read_columns
from bict.errors import DataError, UnknownName

FOLDER = "gldv2"
TRAIN, INDEX, SOLUTION = "train_clean.csv", "index.csv", "retrieval_solution_v2.1.csv"
LAYOUT = f"{FOLDER}/{TRAIN} and {FOLDER}/train/a/b/c/abc*.jpg, or {FOLDER}/{INDEX}, {SOLUTION}, index/ and test/"
USAGES = ("Private", "Public", "Ignored")
SIDE = 224


@dataclass(frozen=True, eq=False)
class LandmarkRetrieval:
    """Queries, gallery, and what each query should find.

    Attributes:
        images: queries, then gallery, by `parts`; no classes are known, so each image is a class of its own.
        relevant: for each query id the gallery ids it should find.
        usage: for each query id "private" or "public"; ignored queries are left out.
    """

    images: ImageSet
    relevant: dict[str, tuple[str, ...]]
    usage: dict[str, str]

    @property
    def query_ids(self) -> list[str]:
        """Ids of the queries, in the order of the solution file."""
        return [str(name) for name in self.images.ids[self.images.parts == "query"]]

    @property
    def gallery_ids(self) -> list[str]:
        """Ids of the gallery, in the order of the index file."""
        return [str(name) for name in self.images.ids[self.images.parts == "gallery"]]


@dataclass(frozen=True, eq=False)
class HashedPaths:
    """Photos at `side/a/b/c/abc*.jpg`, composed when asked for: there are millions of them."""

    folder: Path
    sides: Sequence[str]
    ids: Sequence[str]

    def __getitem__(self, row: int, /) -> Path:
        """The file of a row."""
        return self.folder / _place(self.sides[row], self.ids[row])


@dataclass(frozen=True, eq=False)
class _Listing:
    """Images of one side, as a CSV lists them."""

    file: str
    side: str
    part: str
    ids: list[str]
    labels: list[str]


def load_gldv2(root: Path | None = None, *, strict: bool = False) -> ImageSet:
    """All that is there: the training images with their landmarks as classes, the queries and the gallery.

    The files are looked for, not decoded: missing ones are left out and named in `skipped`.

    Raises:
        DataError: neither side is there, a CSV is absent or unusable, or with `strict` any image is missing.
    """
    folder = _folder(root, "train", "index")
    listings = [_training(folder)] if (folder / "train").is_dir() else []
    if (folder / "index").is_dir():
        listings += _retrieval(folder)[0]
    return _images(folder, listings, strict=strict)


def load_gldv2_retrieval(root: Path | None = None, *, strict: bool = False) -> LandmarkRetrieval:
    """The retrieval benchmark: `map@100` of its private and its public queries.

    Missing images are left out, of the lists of the queries too.

    Raises:
        DataError: a file is absent or unusable, or with `strict` any image is missing.
    """
    folder = _folder(root, "index")
    listings, relevant, usage = _retrieval(folder)
    images = _images(folder, listings, strict=strict)
    there = set(images.ids.tolist())
    kept = {name: tuple(image for image in found if image in there) for name, found in relevant.items()}
    return LandmarkRetrieval(
        images,
        {name: found for name, found in kept.items() if name in there},
        {name: use for name, use in usage.items() if name in there},
    )


def _folder(root: Path | None, *needed: str) -> Path:
    folder = (root or Path()).absolute() / FOLDER
    if not any((folder / side).is_dir() for side in needed):
        raise DataError(f"no {FOLDER} in {folder.parent}: name the folder that holds {LAYOUT} with --data-root")
    return folder


def _columns(path: Path, names: tuple[str, ...]) -> list[list[str]]:
    if not path.is_file():
        raise DataError(f"no {path}: expected {LAYOUT}")
    return read_columns(path, names)


def _training(folder: Path) -> _Listing:
    landmarks, listed = _columns(folder / TRAIN, ("landmark_id", "images"))
    pairs = [(image, landmark) for landmark, images in zip(landmarks, listed, strict=True) for image in images.split()]
    return _Listing(TRAIN, "train", "train", [image for image, _ in pairs], [landmark for _, landmark in pairs])


def _retrieval(folder: Path) -> tuple[list[_Listing], dict[str, tuple[str, ...]], dict[str, str]]:
    """Queries and gallery, and for each query what it should find and its usage."""
    (gallery,) = _columns(folder / INDEX, ("id",))
    relevant, usage = {}, {}
    for name, images, use in zip(*_columns(folder / SOLUTION, ("id", "images", "Usage")), strict=True):
        if use not in USAGES:
            raise UnknownName(f"Usage in {SOLUTION} of {name}:", use, USAGES)
        if use != "Ignored":
            relevant[name] = tuple(image for image in images.split() if image != "None")
            usage[name] = use.lower()
    lacking = sorted({image for found in relevant.values() for image in found} - set(gallery))
    if lacking:
        raise DataError(f"{len(lacking)} images of {SOLUTION} are not in {INDEX}, the first is {lacking[0]}")
    queries = list(relevant)
    sides = [
        _Listing(SOLUTION, "test", "query", queries, queries),
        _Listing(INDEX, "index", "gallery", gallery, gallery),
    ]
    return sides, relevant, usage


def _images(folder: Path, listings: list[_Listing], *, strict: bool) -> ImageSet:
    ids: list[str] = []
    columns: list[tuple[str, str, str]] = []
    skipped: tuple[str, ...] = ()
    for listing in listings:
        names = [_place(listing.side, image) for image in listing.ids]
        fault = f"images of {listing.file} are missing"
        kept, missing = leave_out(names, _problems(folder, names), strict=strict, fault=fault)
        skipped += missing
        rows = kept.nonzero()[0]
        ids += [listing.ids[row] for row in rows]
        columns += [(listing.labels[row], listing.part, listing.side) for row in rows]
    if not ids:
        raise DataError(f"the files in {folder} list no images: expected {LAYOUT}")
    if len(set(ids)) < len(ids):
        raise DataError(f"{len(ids) - len(set(ids))} images are listed twice: expected every id once in the files")
    labels, parts, sides = zip(*columns, strict=True)
    source = FilePixels(HashedPaths(folder, sides, ids), own_size=SIDE)
    return ImageSet(FOLDER, "photos", np.array(ids), np.array(labels), np.array(parts), source, skipped)


def _place(side: str, image: str) -> str:
    if len(image) < 3 or not image.isalnum():
        raise DataError(f"found the image id {image!r} in a list of {FOLDER}, expected letters and digits")
    return f"{side}/{image[0]}/{image[1]}/{image[2]}/{image}.jpg"


def _problems(folder: Path, names: list[str]) -> list[str]:
    """What is wrong with each file, `(names,)`, or "" where it is there; each directory is read once."""
    listed: dict[str, set[str]] = {}
    problems = []
    for name in names:
        directory, _, file = name.rpartition("/")
        if directory not in listed:
            path = folder / directory
            listed[directory] = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        problems.append("" if file in listed[directory] else "no such file")
    return problems
