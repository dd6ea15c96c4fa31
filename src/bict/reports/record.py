"""The result record: everything one run measured, in one versioned JSON file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from bict.reports.files import load_model, save_model
from bict.spaces import Space

SCHEMA: Literal[1] = 1

RowName = Literal["old", "backward", "upgraded", "backfill", "free_upgraded", "free_backfill"]
ROW_NAMES: tuple[RowName, ...] = get_args(RowName)
REQUIRED_ROWS = ROW_NAMES[:4]


def _null_to_nan(value: object) -> object:
    return math.nan if value is None else value


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


Measured = Annotated[float, BeforeValidator(_null_to_nan)]
"""A number that is NaN in Python and null in the file where it could not be measured."""

Defined = Annotated[float | None, AfterValidator(_finite_or_none)]
"""A ratio or difference that is None where it has no meaning."""

Interval = tuple[Measured, Measured]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=lambda name: name.replace("_at_", "@"),
    )


class Pairing(_Part):
    """Queries of one space against a gallery of one; intervals are 95 % bootstrap over queries, `(low, high)`."""

    name: str
    query: str
    gallery: str
    map: Measured
    recall_at_1: Measured
    recall_at_10: Measured
    map_interval: Interval
    recall_at_1_interval: Interval
    recall_at_10_interval: Interval
    note: str = ""


class Row(Pairing):
    """A pairing that every upgrade is judged by."""

    name: RowName


class Epoch(_Part):
    """Mean losses of one training epoch; a term the training does not have is NaN."""

    epoch: int
    loss: Measured
    classification: Measured
    backward: Measured
    seconds: Measured


class Rung(_Part):
    """One candidate forward transform, judged on held-out training classes."""

    name: str
    map: Measured
    map_interval: Interval
    seconds: Measured
    note: str = ""


class Ladder(_Part):
    """The candidate transforms from the plainest up, and the one that was chosen.

    `pairs` is the number of (old vector, new vector) pairs fitted on, `views` the augmented views of each image.
    """

    chosen: str
    pairs: int
    views: int
    held_out_classes: int
    rungs: list[Rung]


class Privacy(_Part):
    """What the upgrade opened: every file, and how many attempts outside its boundary were refused."""

    files_opened: list[str]
    refused: int


class ResultRecord(_Part):
    """One run: what was measured, how long it took, and what made it.

    `recovered_share = (upgraded - old) / (free_backfill - old)`,
    `update_gain = (backward - old) / (free_backfill - old)`,
    `compatibility_tax = free_backfill - backfill`, all in mAP. Where no free new model was trained the new model's
    own backfill stands in as the reference, and `recovered_share_reference` is "new". `reasons` says, by the name of
    a number, why it is null.
    """

    schema_version: Literal[1] = Field(default=SCHEMA, validation_alias="schema", serialization_alias="schema")
    command: str
    rows: list[Row]
    recovered_share: Defined
    update_gain: Defined
    compatibility_tax: Defined
    recovered_share_reference: Literal["free new", "new"]
    reasons: dict[str, str] = {}
    negative_flip_rate: Measured
    positive_flip_rate: Measured
    timing: dict[str, Measured]
    versions: dict[str, str]
    config: dict[str, JsonValue]
    spaces: dict[str, Space]
    counts: dict[str, int]
    training: dict[str, list[Epoch]]
    ladder: Ladder
    free_ladder: Ladder | None = None
    privacy: Privacy | None = None

    @field_validator("rows")
    @classmethod
    def _rows_in_order(cls, rows: list[Row]) -> list[Row]:
        names = [row.name for row in rows]
        if names != [name for name in ROW_NAMES if name in names or name in REQUIRED_ROWS]:
            raise ValueError(f"expected rows {', '.join(ROW_NAMES)} (the last two optional), found {', '.join(names)}")
        return rows

    @model_validator(mode="after")
    def _reference_is_there(self) -> ResultRecord:
        if self.recovered_share_reference == "free new" and "free_backfill" not in self.by_name:
            raise ValueError("recovered_share_reference is 'free new', but there is no row free_backfill")
        return self

    @property
    def by_name(self) -> dict[RowName, Row]:
        """The rows by their name, in order."""
        return {row.name: row for row in self.rows}


def save_record(record: ResultRecord, path: str | Path) -> Path:
    """Write the record as JSON in one step; NaN and infinity become null.

    Raises:
        RunError: the file cannot be written.
    """
    return save_model(record, path)


def load_record(path: str | Path) -> ResultRecord:
    """Read a record.

    Raises:
        RunError: the file is missing, cut off, of another schema, or holds a key or value that does not belong.
    """
    return load_model(ResultRecord, path, SCHEMA)
