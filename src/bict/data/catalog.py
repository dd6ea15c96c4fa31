"""Data by address: `NAME[:PART][,key=value...]`, such as `omniglot:gallery,seed=1` or `photos/shoes:train`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bict.data.folder import load_folder
from bict.data.gldv2 import load_gldv2
from bict.data.glyphs import load_glyphs
from bict.data.images import ImageSet
from bict.data.omniglot import load_omniglot
from bict.data.revisited import load_revisited
from bict.data.splits import PARTS, SplitPlan, draw_splits, draw_training
from bict.errors import DataError, SettingsError, UnknownName

Progress = Callable[[int, int], None]
Loader = Callable[[Path | None, bool, Progress | None], ImageSet]
SIDES = ("query", "gallery")
TRAINING = ("train", "old-train")
DATASETS: dict[str, Loader] = {
    "glyphs": lambda _root, _strict, progress: load_glyphs(progress=progress),
    "omniglot": lambda root, _strict, _progress: load_omniglot(root),
    "gldv2": lambda root, strict, _progress: load_gldv2(root, strict=strict),
    "roxford": lambda root, strict, progress: load_revisited("roxford", root, strict=strict, progress=progress).images,
    "rparis": lambda root, strict, progress: load_revisited("rparis", root, strict=strict, progress=progress).images,
}
"""By name: loads from the data root, strictly or not, telling the images done and in all."""


@dataclass(frozen=True)
class DataAddress:
    """Which data, which part of it, and how its splits are drawn."""

    name: str
    part: str = "all"
    plan: SplitPlan = SplitPlan()  # noqa: RUF009  (frozen)

    @classmethod
    def parse(cls, text: str, default_part: str = "all") -> DataAddress:
        """Read an address; the part and the keys of `SplitPlan` (with - for _) are optional.

        Raises:
            UnknownName: an unknown part, key or scenario, with the nearest valid one.
            SettingsError: a value that cannot be used.
        """
        name = _longest_name(text)
        part, *pairs = text[len(name) :].split(",")
        part = part.removeprefix(":")
        if part and part not in PARTS:
            raise UnknownName(f"part of {name}", part, PARTS)
        return cls(name, part or default_part, _parse_plan(pairs))


def load_images(
    name: str, *, root: Path | None = None, strict: bool = False, progress: Progress | None = None
) -> ImageSet:
    """A data set by name, or the images of a folder or manifest.

    Raises:
        DataError: the data is absent or unusable.
        UnknownName: neither a known name nor an existing path.
    """
    if name in DATASETS:
        return DATASETS[name](root, strict, progress)
    path = root / name if name and root is not None and not _exists(name) else Path(name)
    if not name or not _exists(path):
        raise UnknownName("data set (and no such path)", name, DATASETS)
    return load_folder(path, strict=strict, progress=progress)


def load_part(
    address: DataAddress, *, root: Path | None = None, strict: bool = False, progress: Progress | None = None
) -> ImageSet:
    """The images of one part of the data an address names.

    `all` needs no splits, nor does a query or gallery part where the data prescribes a part for every image; a training
    part then needs no query or gallery image.
    """
    images = load_images(address.name, root=root, strict=strict, progress=progress)
    if address.part == "all":
        return images
    if np.isin(images.parts, ["train", *SIDES]).all():
        if address.part in SIDES:
            rows = np.flatnonzero(images.parts == address.part)
            if not len(rows):
                raise DataError(f"no image of {address.name} is in the part {address.part!r}: give some this split")
            return images.take(rows)
        if address.part in TRAINING:
            return images.take(draw_training(images, address.plan)[TRAINING.index(address.part)])
    return images.take(draw_splits(images, address.plan).rows(address.part))


def _longest_name(text: str) -> str:
    """The longest start of an address that names data, whose path may hold `:` and `,`; else the text before either."""
    ends = [found.start() for found in re.finditer("[:,]", text)] + [len(text)]
    for end in reversed(ends):
        if text[:end] in DATASETS or (end and _exists(text[:end])):
            return text[:end]
    return text[: ends[0]]


def _exists(path: str | Path) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # too long for a path
        return False


def _parse_plan(pairs: list[str]) -> SplitPlan:
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        field = key.strip().replace("-", "_")
        if field not in SplitPlan.model_fields:
            keys = [name.replace("_", "-") for name in SplitPlan.model_fields]
            raise UnknownName("key of the data address", key, keys)
        if not equals:
            raise SettingsError(f"{key!r} in the data address needs a value: {key}=...")
        values[field] = value.strip()
    try:
        return SplitPlan.model_validate(values)
    except ValidationError as error:
        raise _refusal(error.errors()[0]) from error


def _refusal(problem: ErrorDetails) -> SettingsError | UnknownName:
    field, found = str(problem["loc"][0]), problem["input"]
    key = field.replace("_", "-")
    if problem["type"] == "literal_error":
        return UnknownName(f"{key} in the data address", found, get_args(SplitPlan.model_fields[field].annotation))
    return SettingsError(f"data address, {key}={found}: {problem['msg'].lower()}")
