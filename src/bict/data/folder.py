"""A user's own images: a folder with one folder per class, or a CSV or Parquet manifest `path,label[,split]`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bict.data.images import FilePixels, ImageSet
from bict.data.screening import Progress, leave_out, photo_problems
from bict.errors import DataError, UnknownName

MANIFESTS = {".csv", ".parquet"}
COLUMNS = ("path", "label", "split")
SPLITS = ("train", "evaluation", "query", "gallery", "")
Entry = tuple[str, Path, str, str]


def load_folder(path: Path, *, strict: bool = False, progress: Progress | None = None) -> ImageSet:
    """The readable images of a folder or manifest; unreadable ones are left out and named in `skipped`.

    Every image is decoded once here, so that a damaged one is found before hours of work and not after.

    Raises:
        DataError: nothing is there, no image can be read, or with `strict` any image cannot be read.
    """
    path = path.absolute()
    entries = sorted(_class_folders(path) if path.is_dir() else _manifest(path))
    if not entries:
        raise DataError(f"{path} holds no images: expected one folder per class, or a .csv or .parquet manifest")
    kept, skipped = leave_out(
        [entry[0] for entry in entries], photo_problems([entry[1] for entry in entries], progress), strict=strict
    )
    good = [entries[row] for row in np.flatnonzero(kept)]
    ids, paths, labels, parts = zip(*good, strict=True)
    columns = (np.array(ids), np.array(labels), np.array(parts))
    name = path.name if path.is_dir() else path.stem
    return ImageSet(name, "photos", *columns, FilePixels(paths), skipped)


def _class_folders(path: Path) -> Iterable[Entry]:
    """Files below the class folders; hidden files and all in hidden folders are left alone."""
    for file in path.glob("*/**/*"):
        inside = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in inside.parts):
            yield inside.as_posix(), file, inside.parts[0], ""


def _manifest(path: Path) -> Iterable[Entry]:
    table = _read_manifest(path)
    splits = table["split"].to_pylist() if "split" in table.column_names else [""] * len(table)
    seen = set()
    rows = zip(table["path"].to_pylist(), table["label"].to_pylist(), splits, strict=True)
    for number, (file, label, split) in enumerate(rows, 1):
        if not (file or "").strip() or not (label or "").strip():
            raise DataError(f"{path}, row {number}: path and label must not be empty")
        if (split or "") not in SPLITS:
            raise UnknownName(f"split in {path.name}, row {number}:", split, SPLITS[:-1])
        target = path.parent / file
        if target in seen:
            raise DataError(f"{path}, row {number}: {file} is listed twice")
        seen.add(target)
        yield file, target, label, split or ""


def _read_manifest(path: Path) -> pa.Table:
    """The columns of a manifest, all strings; an empty field of a CSV is "", and a label may well be "NA" or "007"."""
    if path.suffix.lower() not in MANIFESTS:
        raise DataError(f"{path} is neither a folder nor a .csv or .parquet manifest")
    text = pa_csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=False)
    try:
        csv = path.suffix.lower() == ".csv"
        table = pa_csv.read_csv(path, convert_options=text) if csv else pq.read_table(path, partitioning=None)
        _check_columns(path, table.column_names)
        return table.cast(pa.schema([pa.field(name, pa.string()) for name in table.column_names]))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a manifest: {str(error).splitlines()[0]}") from error


def _check_columns(path: Path, names: list[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise UnknownName(f"column of {path.name}", name, COLUMNS)
        if names.count(name) > 1:
            raise DataError(f"{path} has {names.count(name)} columns {name!r}, expected one")
    for name in ("path", "label"):
        if name not in names:
            raise DataError(f"{path} has no column {name!r}: found {', '.join(names)}")
