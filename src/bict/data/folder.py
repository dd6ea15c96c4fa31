"""A user's own images: a folder with one folder per class, or a CSV or Parquet manifest `path,label[,split]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from PIL import Image

from bict.data.images import UNREADABLE, FilePixels, ImageSet
from bict.errors import DataError, UnknownName

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
MANIFESTS = {".csv", ".parquet"}
COLUMNS = ("path", "label", "split")
SPLITS = ("train", "evaluation", "query", "gallery", "")
Progress = Callable[[int, int], None]
Entry = tuple[str, Path, str, str]


def load_folder(path: Path, *, strict: bool = False, progress: Progress | None = None) -> ImageSet:
    """The readable images of a folder or manifest; unreadable ones are left out and named in `skipped`.

    Every image is decoded once here, so that a damaged one is found before hours of work and not after.

    Raises:
        DataError: nothing is there, no image can be read, or with `strict` any image cannot be read.
    """
    entries = sorted(_manifest(path) if path.suffix in MANIFESTS else _class_folders(path))
    if not entries:
        raise DataError(f"{path} holds no images: expected one folder per class, or a .csv or .parquet manifest")
    problems = _problems([entry[1] for entry in entries], progress)
    skipped = tuple(f"{entry[0]} ({problem})" for entry, problem in zip(entries, problems, strict=True) if problem)
    if skipped and (strict or len(skipped) == len(entries)):
        raise DataError(f"{len(skipped)} of {len(entries)} images cannot be read, the first is {skipped[0]}")
    good = [entry for entry, problem in zip(entries, problems, strict=True) if not problem]
    ids, paths, labels, parts = zip(*good, strict=True)
    columns = (np.array(ids), np.array(labels), np.array(parts))
    return ImageSet(path.stem, "photos", *columns, FilePixels(paths), skipped)


def _class_folders(path: Path) -> Iterable[Entry]:
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a .csv or .parquet manifest")
    for file in path.glob("*/**/*"):
        if file.is_file() and not file.name.startswith("."):
            inside = file.relative_to(path)
            yield inside.as_posix(), file, inside.parts[0], ""


def _manifest(path: Path) -> Iterable[Entry]:
    table = _read_manifest(path)
    names = table.column_names
    for name in names:
        if name not in COLUMNS:
            raise UnknownName(f"column of {path.name}", name, COLUMNS)
    for name in ("path", "label"):
        if name not in names:
            raise DataError(f"{path} has no column {name!r}: found {', '.join(names)}")
    splits = table["split"].to_pylist() if "split" in names else [""] * len(table)
    seen = set()
    for number, (file, label, split) in enumerate(
        zip(table["path"].to_pylist(), table["label"].to_pylist(), splits, strict=True), 1
    ):
        if not file or not label:
            raise DataError(f"{path}, row {number}: path and label must not be empty")
        if (split or "") not in SPLITS:
            raise UnknownName(f"split in {path.name}, row {number}:", split, SPLITS[:-1])
        if file in seen:
            raise DataError(f"{path}, row {number}: {file} is listed twice")
        seen.add(file)
        yield file, path.parent / file, label, split or ""


def _read_manifest(path: Path) -> pa.Table:
    text = pa_csv.ConvertOptions(column_types={name: pa.string() for name in COLUMNS}, strings_can_be_null=True)
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            return table.cast(pa.schema([pa.field(name, pa.string()) for name in table.column_names]))
        return pa_csv.read_csv(path, convert_options=text)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a manifest: {str(error).splitlines()[0]}") from error


def _problems(paths: list[Path], progress: Progress | None) -> list[str]:
    """What is wrong with each file, or "" where it decodes."""
    problems = []
    with ThreadPoolExecutor() as pool:
        for done, problem in enumerate(pool.map(_problem, paths), 1):
            problems.append(problem)
            if progress is not None and (done % 100 == 0 or done == len(paths)):
                progress(done, len(paths))
    return problems


def _problem(path: Path) -> str:
    if path.suffix.lower() not in ENDINGS:
        return "no image file"
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        return "no such file"
    except UNREADABLE as error:
        return type(error).__name__ if not str(error) else "truncated or no image"
    return ""
