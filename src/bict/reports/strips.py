"""Retrieval strips: what a few real queries found before and after the upgrade."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from bict.errors import DataError, SettingsError
from bict.reports.files import load_model, save_model
from bict.reports.numbers import score

SCHEMA: Literal[1] = 1
HITS = 8
SIDE = 64

StripRow = Literal["old", "backward", "upgraded", "backfill"]
Thumbnail = Annotated[str, Field(pattern=r"^data:image/png;base64,[A-Za-z0-9+/]+=*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hit(_Part):
    """One gallery image that a query found, and whether it is of the query's class."""

    thumbnail: Thumbnail
    label: str
    right: bool


class Strip(_Part):
    """One query with its first hits, best first, under each pairing; `why` says why this query is shown."""

    query: Thumbnail
    label: str
    why: str
    rows: dict[StripRow, Annotated[list[Hit], Field(max_length=HITS)]]


class _StripFile(_Part):
    schema_version: Literal[1] = Field(default=SCHEMA, validation_alias="schema", serialization_alias="schema")
    strips: list[Strip]


@dataclass(frozen=True)
class Choice:
    """A query to show: its row in the arrays it was chosen from, and why."""

    row: int
    why: str


def save_strips(strips: Sequence[Strip], path: str | Path) -> Path:
    """Write strips as JSON in one step.

    Raises:
        RunError: the file cannot be written.
    """
    return save_model(_StripFile(strips=list(strips)), path)


def load_strips(path: str | Path) -> list[Strip]:
    """Read strips.

    Raises:
        RunError: the file is missing, cut off, of another schema, or holds a key or value that does not belong.
    """
    return load_model(_StripFile, path, SCHEMA).strips


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """A PNG data URI of `(height, width)` or `(height, width, 3)` uint8 pixels, no side above 64 pixels.

    A larger image is reduced; a tiny one is enlarged by a whole factor without smoothing.

    Raises:
        DataError: another shape or type.
    """
    shape = np.shape(pixels)
    if pixels.dtype != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or not pixels.size:
        raise DataError(f"expected uint8 pixels (height, width) or (height, width, 3), found {pixels.dtype} {shape}")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor = SIDE // max(image.size)
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def choose_strips(
    old: NDArray[np.floating[Any]], upgraded: NDArray[np.floating[Any]], count: int = 6, *, seed: int
) -> list[Choice]:
    """Choose queries to show by average precision `(queries,)` under old and under upgraded vectors.

    A third are the most improved, a third the most worsened, the rest drawn at random from all others, so the page
    cannot hide what got worse; where too few changed, random ones fill up. A query whose AP is NaN is never chosen.

    Raises:
        SettingsError: arrays of unequal shape, or a negative count.
    """
    old, upgraded = np.asarray(old, np.float64), np.asarray(upgraded, np.float64)
    if old.ndim != 1 or old.shape != upgraded.shape or count < 0:
        raise SettingsError(f"expected two arrays (queries,) and a count, found {old.shape}, {upgraded.shape}, {count}")
    change = upgraded - old
    order = np.argsort(-change, kind="stable")
    order = order[np.isfinite(change[order])]
    third = (count + 1) // 3
    improved = [row for row in order if change[row] > 0][:third]
    worsened = [row for row in order[::-1] if change[row] < 0][:third]
    others = np.setdiff1d(order, [*improved, *worsened])
    drawn = np.random.default_rng(seed).permutation(others)[: count - len(improved) - len(worsened)]
    groups: dict[str, Iterable[int]] = {"most improved": improved, "most worsened": worsened, "drawn at random": drawn}
    return [
        Choice(int(row), f"{why}, AP {score(old[row])} to {score(upgraded[row])}")
        for why, rows in groups.items()
        for row in rows
    ]
