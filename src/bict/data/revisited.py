"""Revisited Oxford and Paris: queries cropped to a box, and a gallery of photos of buildings.

Radenovic, Iscen, Tolias, Avrithis, Chum: "Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking",
CVPR 2018. The ground truth is the published pickle, read through an allow list.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bict.data.images import Box, FilePixels, ImageSet
from bict.data.screening import leave_out, photo_problems
from bict.data.unpickling import StoredArray, read_foreign_pickle
from bict.errors import DataError, UnknownName
from bict.evaluation.landmarks import RevisitedTruth

FOLDERS = {"roxford": "roxford5k", "rparis": "rparis6k"}
LISTS = ("easy", "hard", "junk")
SIDE = 224
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class RevisitedBenchmark:
    """Queries, gallery, and what each query should find.

    Attributes:
        images: queries, then gallery, by `parts`; no classes are known, so each image is a class of its own.
        truth: for each query id the gallery ids that are easy, hard or junk.
    """

    images: ImageSet
    truth: dict[str, RevisitedTruth]


@dataclass(frozen=True)
class _Query:
    name: str
    box: Box
    truth: RevisitedTruth


def load_revisited(
    name: str, root: Path | None = None, *, strict: bool = False, progress: Progress | None = None
) -> RevisitedBenchmark:
    """`roxford` or `rparis`, from `roxford5k/gnd_roxford5k.pkl` and `roxford5k/jpg/*.jpg` (`rparis6k/...`) in a folder.

    Every image is decoded once here; unreadable ones are left out, of the lists of the queries too.

    Raises:
        DataError: the files are absent or unusable, or with `strict` any image cannot be read.
        UnknownName: another name.
    """
    if name not in FOLDERS:
        raise UnknownName("revisited benchmark", name, FOLDERS)
    folder = (root or Path()).absolute() / FOLDERS[name]
    path = folder / f"gnd_{folder.name}.pkl"
    if not path.is_file() or not (folder / "jpg").is_dir():
        layout = f"{folder.name}/{path.name} and {folder.name}/jpg/*.jpg"
        raise DataError(f"no {name} in {folder.parent}: name the folder that holds {layout} with --data-root")
    queries, gallery = _read_truth(path)
    ids = [*(query.name for query in queries), *gallery]
    paths = [folder / "jpg" / f"{image}.jpg" for image in ids]
    boxes = [*(query.box for query in queries), *(None for _ in gallery)]
    kept, skipped = leave_out(ids, photo_problems(paths, progress, boxes), strict=strict)
    parts = np.array(["query"] * len(queries) + ["gallery"] * len(gallery))
    source = FilePixels(paths, own_size=SIDE, boxes={row: query.box for row, query in enumerate(queries)})
    images = ImageSet(name, "photos", np.array(ids), np.array(ids), parts, source, skipped)
    there = {image for image, good in zip(ids, kept, strict=True) if good}
    truth = {query.name: _without(query.truth, there) for query in queries if query.name in there}
    return RevisitedBenchmark(images.take(kept.nonzero()[0]), truth)


class _Unusable(Exception):
    """What was found and what was expected."""


def _read_truth(path: Path) -> tuple[list[_Query], list[str]]:
    """Queries and gallery ids of a `gnd_*.pkl`: a dictionary of `imlist`, `qimlist` and `gnd`.

    `gnd` holds for each query `bbx`, four numbers, and `easy`, `hard` and `junk`, places in `imlist`.
    """
    try:
        return _parse_truth(read_foreign_pickle(path))
    except _Unusable as error:
        raise DataError(f"{path} is no ground truth of a revisited benchmark: found {error}") from error


def _parse_truth(content: Any) -> tuple[list[_Query], list[str]]:  # noqa: ANN401
    gallery, names = (_texts(_field(content, key), key) for key in ("imlist", "qimlist"))
    entries = _items(_field(content, "gnd"), "gnd")
    if len(entries) != len(names):
        raise _Unusable(f"{len(entries)} entries in gnd, expected one for each of {len(names)} queries")
    repeated = len(names) + len(gallery) - len({*names, *gallery})
    if repeated:
        raise _Unusable(f"{repeated} images twice, expected queries that are not in the gallery")
    return [_query(name, entry, gallery) for name, entry in zip(names, entries, strict=True)], gallery


def _query(name: str, entry: Any, gallery: list[str]) -> _Query:  # noqa: ANN401
    box = _items(_field(entry, "bbx"), "bbx")
    if len(box) != 4 or not all(isinstance(edge, int | float) and math.isfinite(edge) for edge in box):
        raise _Unusable(f"bbx {box} of {name}, expected four numbers")
    lists = {}
    for key in LISTS:
        places = _items(_field(entry, key), key)
        wrong = [place for place in places if not isinstance(place, int) or not 0 <= place < len(gallery)]
        if wrong:
            raise _Unusable(f"{wrong[0]} in {key} of {name}, expected places in an imlist of {len(gallery)}")
        lists[key] = tuple(gallery[place] for place in places)
    left, upper, right, lower = (float(edge) for edge in box)
    return _Query(name, (left, upper, right, lower), RevisitedTruth(**lists))


def _field(content: Any, key: str) -> Any:  # noqa: ANN401
    if not isinstance(content, dict) or key not in content:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise _Unusable(f"{found}, expected {key!r}")
    return content[key]


def _items(value: Any, key: str) -> list[Any]:  # noqa: ANN401
    if isinstance(value, StoredArray):
        return value.items
    if not isinstance(value, list | tuple):
        raise _Unusable(f"{type(value).__name__} as {key}, expected a list")
    return list(value)


def _texts(value: Any, key: str) -> list[str]:  # noqa: ANN401
    names = _items(value, key)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise _Unusable(f"something else than names in {key}, or nothing")
    return names


def _without(truth: RevisitedTruth, there: set[str]) -> RevisitedTruth:
    return RevisitedTruth(**{key: tuple(image for image in getattr(truth, key) if image in there) for key in LISTS})
