"""The answer of a run in plain words: whether this gallery should be upgraded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bict.reports.numbers import interval, percent, score, signed
from bict.reports.record import ResultRecord, Row

Answer = Literal["upgrade", "queries only", "unclear", "keep"]

HEADLINES: dict[Answer, str] = {
    "upgrade": "Upgrade the gallery",
    "queries only": "Do not upgrade the gallery: change the query model only",
    "unclear": "Too close to call",
    "keep": "Do not upgrade",
}

BACKFILL = {
    "free new": "of the gain of a full backfill with the free new model",
    "new": "of a backfill's gain (new stands in for free new)",
}


@dataclass(frozen=True)
class Verdict:
    """The answer, and the sentence that gives its numbers."""

    answer: Answer
    sentence: str

    @property
    def headline(self) -> str:
        """The answer in a few words."""
        return HEADLINES[self.answer]


@dataclass(frozen=True)
class Line:
    """One number with its name and its meaning."""

    label: str
    value: str
    meaning: str


def verdict(record: ResultRecord) -> Verdict:
    """Judge the upgrade by mAP.

    "upgrade" needs upgraded vectors that beat the old ones by more than both intervals leave open, and that beat new
    queries on untouched vectors. The intervals are those of each row alone, so a small gain is rather called
    unclear than proven.
    """
    rows = record.by_name
    old, backward, upgraded = rows["old"], rows["backward"], rows["upgraded"]
    if not math.isfinite(old.map) or not math.isfinite(upgraded.map):
        return Verdict("unclear", "mAP was not measured before and after the upgrade, so this run gives no answer.")
    change, whole = _change(old, upgraded), f"a full re-embed would give {score(rows['backfill'].map)}"
    untouched = f"new queries on the untouched gallery give {score(backward.map)}"
    if upgraded.map > old.map and not upgraded.map <= backward.map:
        if _clearly_above(upgraded, old):
            return Verdict("upgrade", f"{change} without reading a gallery image; {whole}.")
        ranges = f"{interval(old.map_interval)} and {interval(upgraded.map_interval)}"
        return Verdict("unclear", f"{change}, but the intervals overlap ({ranges}): evaluate with more queries first.")
    if _clearly_above(backward, old):
        return Verdict("queries only", f"{change}, but {untouched}: rewriting vectors would not pay; {whole}.")
    if upgraded.map > old.map:
        return Verdict("unclear", f"{change}, but {untouched} and the intervals overlap.")
    return Verdict("keep", f"{change}: the rewritten vectors are no better than the stored ones; {whole}.")


def gain_shares(record: ResultRecord) -> dict[str, float | None]:
    """Part of a full backfill's gain that each row reaches: 0 for old, 1 for the reference, None where undefined."""
    rows = record.by_name
    reference = rows["free_backfill" if record.recovered_share_reference == "free new" else "backfill"]
    gap = reference.map - rows["old"].map
    defined = record.recovered_share is not None and gap > 0
    return {name: (row.map - rows["old"].map) / gap if defined else None for name, row in rows.items()}


def summary(record: ResultRecord) -> list[Line]:
    """Recovered share, update gain, compatibility tax and flips, each with what it means or why it is undefined."""
    lines: list[tuple[str, str, Callable[[float | None], str], str]] = [
        ("recovered share", "recovered_share", percent, BACKFILL[record.recovered_share_reference]),
        ("update gain", "update_gain", percent, "of that gain, with new queries on untouched vectors"),
        ("compatibility tax", "compatibility_tax", signed, "mAP the new model pays for its compatibility"),
    ]
    defined = [Line(label, form(getattr(record, key)), _meaning(record, key, text)) for label, key, form, text in lines]
    lost, won = percent(record.negative_flip_rate, 1), percent(record.positive_flip_rate, 1)
    return [*defined, Line("negative flips", lost, f"of queries turn wrong at rank 1, {won} turn right")]


def _meaning(record: ResultRecord, key: str, text: str) -> str:
    if getattr(record, key) is not None:
        return text
    return f"undefined: {record.reasons.get(key, 'no reason was recorded')}"


def _change(old: Row, upgraded: Row) -> str:
    verb = "lifts" if upgraded.map > old.map else "lowers" if upgraded.map < old.map else "leaves"
    if verb == "leaves":
        return f"The upgrade leaves mAP at {score(old.map)}"
    relative = f" ({(upgraded.map / old.map - 1) * 100:+.0f} %)" if old.map > 0 else ""
    return f"The upgrade {verb} mAP from {score(old.map)} to {score(upgraded.map)}{relative}"


def _clearly_above(row: Row, other: Row) -> bool:
    return row.map > other.map and row.map_interval[0] > other.map_interval[1]
