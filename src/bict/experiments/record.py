"""From the outcome of a run to its result record and its retrieval strips."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bict.evaluation import (
    PairResult,
    compatibility_tax,
    flip_rates,
    nearest,
    recovered_share,
    update_gain,
)
from bict.experiments.plan import RunPlan
from bict.reports import Hit, Ladder, Privacy, ResultRecord, Row, Strip, choose_strips, thumbnail
from bict.transforms import Transform

if TYPE_CHECKING:
    from bict.experiments.run import Outcome

HITS = 8
MAIN_ROWS = ("old", "backward", "upgraded", "backfill")
KEYS = ("map", "recall@1", "recall@10")


def make_record(
    outcome: Outcome,
    *,
    plan: RunPlan,
    timing: dict[str, float],
    histories: dict[str, list[dict[str, float]]],
    versions: dict[str, str],
    command: str,
    out: Path,
) -> ResultRecord:
    """The record of a finished run."""
    score = {name: pair.scores["map"] for name, pair in outcome.pairs.items()}
    oracle = score.get("free_backfill", score["backfill"])
    share = recovered_share(score["upgraded"], score["old"], oracle)
    gain = update_gain(score["backward"], score["old"], oracle)
    scores: dict[str, Any] = {"recovered_share": share, "update_gain": gain}
    reasons = {name: value.reason for name, value in scores.items() if value.reason}
    tax = None
    if outcome.free is None:
        reasons["compatibility_tax"] = "no free new model was trained (--quick)"
    else:
        tax = compatibility_tax(score["backfill"], score["free_backfill"]).value
    flips = flip_rates(*(outcome.pairs[name].per_query["recall@1"] for name in ("old", "upgraded")))
    names = {"old": "old", "new": "new", "free": "free new"}
    return ResultRecord(
        command=command,
        rows=[_row(pair) for pair in outcome.pairs.values()],
        recovered_share=share.value,
        update_gain=gain.value,
        compatibility_tax=tax,
        recovered_share_reference="new" if outcome.free is None else "free new",
        reasons=reasons,
        negative_flip_rate=flips.negative,
        positive_flip_rate=flips.positive,
        timing=timing,
        versions=versions,
        config={**plan.model_dump(mode="json"), "out": str(out)},
        spaces=_spaces(outcome),
        counts=_counts(outcome),
        training={names[name]: history for name, history in histories.items()},
        ladder=_ladder(outcome.new.transform),
        free_ladder=None if outcome.free is None else _ladder(outcome.free.transform),
        privacy=Privacy(files_opened=outcome.new.opened, refused=0),
    )


def make_strips(outcome: Outcome, seed: int, count: int = 6) -> list[Strip]:
    """What a few queries find under the four main rows: most improved, most worsened, and random ones."""
    galleries = {
        "old": outcome.old_gallery,
        "backward": outcome.old_gallery,
        "upgraded": outcome.new.gallery.vectors(),
        "backfill": outcome.new.backfill,
    }
    old, upgraded = (outcome.pairs[name].per_query["map"] for name in ("old", "upgraded"))
    choices = choose_strips(old, upgraded, count=count, seed=seed)
    chosen = np.array([choice.row for choice in choices])
    found = {}
    for name in MAIN_ROWS:
        queries = outcome.old_queries if name == "old" else outcome.new.queries
        hits = min(HITS, len(galleries[name]))
        rows, _ = nearest(queries.take(chosen), galleries[name], hits)
        found[name] = galleries[name].ids[rows]
    return [
        _strip(outcome, choice.row, choice.why, {name: ids[place] for name, ids in found.items()})
        for place, choice in enumerate(choices)
    ]


def _strip(outcome: Outcome, query: int, why: str, found: dict[str, np.ndarray]) -> Strip:
    row_of = {name: row for row, name in enumerate(outcome.images.ids.tolist())}
    row = int(outcome.splits.query[query])
    label = str(outcome.images.labels[row])
    rows = {name: [_hit(outcome, row_of[hit], label) for hit in ids.tolist()] for name, ids in found.items()}
    return Strip(query=_thumbnail(outcome, row), label=label, why=why, rows=rows)


def _hit(outcome: Outcome, row: int, label: str) -> Hit:
    own = str(outcome.images.labels[row])
    return Hit(thumbnail=_thumbnail(outcome, row), label=own, right=own == label)


def _thumbnail(outcome: Outcome, row: int) -> str:
    """Characters are shown dark on light."""
    source = outcome.images.source
    pixels = outcome.images.pixels(np.array([row]), min(source.own_size, 64), source.channels)[0]
    if outcome.images.kind == "characters":
        pixels = 255 - pixels
    return thumbnail(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _row(pair: PairResult) -> Row:
    values: dict[str, Any] = {key: pair.scores[key] for key in KEYS}
    values |= {f"{key}_interval": pair.intervals[key] for key in KEYS}
    return Row.model_validate({"name": pair.name, "query": pair.query, "gallery": pair.gallery, **values})


def _ladder(transform: Transform) -> Ladder:
    scores = transform.scores
    if scores is None:
        raise ValueError("a fitted transform has its ladder")
    rungs = [
        {
            "name": rung.name,
            "map": rung.map,
            "map_interval": rung.map_interval or (math.nan, math.nan),
            "seconds": rung.seconds,
            "note": rung.note,
        }
        for rung in scores.rungs
    ]
    values = {"chosen": scores.chosen, "pairs": scores.pairs, "views": scores.views, "rungs": rungs}
    return Ladder.model_validate({**values, "held_out_classes": scores.held_out_classes or 0})


def _spaces(outcome: Outcome) -> dict[str, Any]:
    spaces = {"old": outcome.old.space, "new": outcome.new.model.space}
    return spaces if outcome.free is None else {**spaces, "free new": outcome.free.model.space}


def _counts(outcome: Outcome) -> dict[str, int]:
    images, splits = outcome.images, outcome.splits
    counts = {"images": len(images), "classes": len(images.classes()), "images skipped": len(images.skipped)}
    for part in ("train", "old-train", "query", "gallery"):
        rows = splits.rows(part)
        counts[f"{part} images"] = len(rows)
        counts[f"{part} classes"] = len(np.unique(images.labels[rows]))
    return counts
