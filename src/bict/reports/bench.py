"""The bench record: what one method gave in one scenario, on one data set, with one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from bict.reports.files import load_model, save_model
from bict.reports.record import Defined, Measured, Pairing

SCHEMA: Literal[1] = 1


class BenchRecord(BaseModel):
    """One method in one scenario.

    Attributes:
        rows: as in the record of `bict demo`, and the method's own.
        metrics: by name; None where undefined, with the reason in `reasons`.
        average_precision: of every query under some rows, for paired tests between methods.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)

    schema_version: Literal[1] = Field(default=SCHEMA, validation_alias="schema", serialization_alias="schema")
    command: str
    method: str
    scenario: str
    data: str
    seed: int
    quick: bool
    rows: list[Pairing]
    metrics: dict[str, Defined]
    reasons: dict[str, str] = {}
    average_precision: dict[str, list[Measured]]
    seconds: float
    versions: dict[str, str]
    config: dict[str, JsonValue]

    @property
    def by_name(self) -> dict[str, Pairing]:
        """The rows by their name, in order."""
        return {row.name: row for row in self.rows}


def save_bench_record(record: BenchRecord, path: str | Path) -> Path:
    """Write the record as JSON in one step; NaN becomes null.

    Raises:
        RunError: the file cannot be written.
    """
    return save_model(record, path)


def load_bench_record(path: str | Path) -> BenchRecord:
    """Read a record.

    Raises:
        RunError: the file is missing, cut off, of another schema, or holds a key or value that does not belong.
    """
    return load_model(BenchRecord, path, SCHEMA)
