"""The assessment record: what a pair of files says about an upgrade, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from bict.reports.files import load_model, save_model
from bict.reports.record import Interval, Measured
from bict.spaces import Space

SCHEMA: Literal[1] = 1

Answer = Literal["upgrade", "bridge", "fuse", "re-embed", "stay"]
Kind = Literal["old", "upgrade", "bridge", "head", "control", "fuse", "backfill"]
Measure = Literal["labels", "relevance pairs", "new model's neighbours"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)


class Estimate(_Part):
    """A number with its 95 % bootstrap interval, `(low, high)`; NaN, and null in the file, if unknown.

    Drawn again are classes, or queries where there are no labels.
    """

    value: Measured
    interval: Interval


class Candidate(_Part):
    """One way to serve, fitted on the fit part, chosen by the choose part and reported on the judge part.

    Before it is reported, the best upgrade and the best bridge are fitted again on both other parts.

    Attributes:
        name: such as "ridge", "bridge-mlp" or "fused-ridge"; "old" and "backfill" are the two ends.
        kind: `old` and `backfill` serve with one model; `upgrade` rewrites the gallery, `bridge` maps the queries,
            `head` maps them by what it learned from the labels, `control` does so with the old model's own queries,
            `fuse` rewrites the gallery and asks both models.
        choice: its score on the choose part; NaN where it was not fitted.
        map: mean average precision on the judge part.
        recall_at_1: share of judge queries whose first hit is relevant.
        recall_at_10: share of judge queries with a relevant hit among the first ten.
        gain: of `map` over old, paired over queries.
        recovered_share: `gain / (map of backfill - map of old)`, both means over the same queries.
        negative_flip_rate: share of queries with a relevant first hit in the old system and none here.
        positive_flip_rate: the other way round.
        score_gap: Kolmogorov-Smirnov statistic between its scores of items that do not match and those of old: near 0 a
            match threshold stays as it is, else it has to be carried over.
        worst_group: class, or without labels cluster, that loses most against old; empty where none can be told.
        worst_change: its change of mean average precision.
        seconds: time of the fit.
        note: why it was skipped, else empty.
    """

    name: str
    kind: Kind
    choice: Measured
    map: Estimate | None = None
    recall_at_1: Estimate | None = None
    recall_at_10: Estimate | None = None
    gain: Estimate | None = None
    recovered_share: Estimate | None = None
    negative_flip_rate: Estimate | None = None
    positive_flip_rate: Estimate | None = None
    score_gap: Measured = float("nan")
    worst_group: str = ""
    worst_change: Measured = float("nan")
    seconds: float = 0.0
    note: str = ""


class CurvePoint(_Part):
    """The chosen method fitted on so many pairs: its gain of mean average precision over old, on the judge part."""

    pairs: int
    gain: Estimate


class Threshold(_Part):
    """A match threshold of the old system, carried to the upgraded one at the same share of false matches.

    Attributes:
        old: similarity from which the application takes two items for the same.
        new: similarity with the same false-positive rate under the upgraded gallery, and its interval.
        false_positive_rate: of both, over pairs that do not match.
        true_positive_rate_old: share of matching pairs above the old threshold; NaN without labels.
        true_positive_rate_new: the same above the new one.
        unmoved_false_positive_rate: of the upgraded gallery, were the threshold left as it is.
    """

    old: float
    new: Estimate
    false_positive_rate: float
    true_positive_rate_old: Measured
    true_positive_rate_new: Measured
    unmoved_false_positive_rate: float


class Confidence(_Part):
    """How well the predicted error of an upgraded vector says which items to embed again first.

    Attributes:
        rank_correlation: Spearman's, between predicted and true error on the judge part.
        ratios: shares of the gallery that are embedded again, 0 to 1.
        predicted_first: mean average precision at each ratio, largest predicted error first.
        random: the same in random order, mean over draws.
    """

    rank_correlation: Measured
    ratios: tuple[float, ...]
    predicted_first: tuple[float, ...]
    random: tuple[float, ...]


class Preflight(_Part):
    """The cheap score before any fit.

    Attributes:
        agreement: of the two models' Gram matrices, 0 to 1 (linear CKA).
        pairs: it was measured on.
    """

    agreement: float
    pairs: int


class Gate(_Part):
    """A bound the user set, what was found, and whether it holds."""

    name: str
    bound: float
    found: Measured
    passed: bool


class AssessmentRecord(_Part):
    """Verdict, the numbers that decide it, and how they were made.

    `best` is the chosen way, or where nothing is to be written the way that came closest; empty if none was fitted. Its
    are `upgraded`, `recovered_share` and `negative_flip_rate`.
    `reasons` gives, one sentence each, the numbers that decide. `warnings` says what was odd about the files. `counts`
    has the pairs of each part, the ids without a partner, and the rows left out. `spaces` has `old` and `new`.
    """

    schema_version: Literal[1] = Field(default=SCHEMA, validation_alias="schema", serialization_alias="schema")
    command: str
    verdict: Answer
    chosen: str
    best: str
    reasons: list[str]
    warnings: list[str]
    measure: Measure
    old: Estimate
    upgraded: Estimate
    backfill: Estimate
    recovered_share: Estimate
    negative_flip_rate: Estimate
    rungs: list[Candidate]
    learning_curve: list[CurvePoint]
    preflight: Preflight
    threshold: Threshold | None
    confidence: Confidence | None
    gates: list[Gate]
    counts: dict[str, int]
    spaces: dict[str, Space]
    versions: dict[str, str]
    timing: dict[str, float]
    config: dict[str, JsonValue]

    @property
    def passed(self) -> bool:
        """Whether stored vectors can serve the new model, and every gate holds."""
        return self.verdict in ("upgrade", "bridge", "fuse") and all(gate.passed for gate in self.gates)

    @property
    def by_name(self) -> dict[str, Candidate]:
        """The candidates by their name, in order."""
        return {rung.name: rung for rung in self.rungs}


def per_doubling(points: Sequence[CurvePoint]) -> float | None:
    """Gain that a doubling of the pairs brought between the last two points; None where there are not two."""
    if len(points) < 2 or points[-2].pairs == points[-1].pairs:
        return None
    before, last = points[-2:]
    return (last.gain.value - before.gain.value) / math.log2(last.pairs / before.pairs)


def save_assessment(record: AssessmentRecord, path: str | Path) -> Path:
    """Write the record as JSON in one step; NaN becomes null.

    Raises:
        RunError: the file cannot be written.
    """
    return save_model(record, path)


def load_assessment(path: str | Path) -> AssessmentRecord:
    """Read a record.

    Raises:
        RunError: the file is missing, cut off, of another schema, or holds a key or value that does not belong.
    """
    return load_model(AssessmentRecord, path, SCHEMA)
