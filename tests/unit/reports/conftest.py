from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bict.reports.record import Epoch, Ladder, Privacy, ResultRecord, Row, Rung
from bict.reports.strips import Hit, Strip, thumbnail
from bict.spaces import Space

PAIRINGS = {
    "old": ("old", "old", 0.450),
    "backward": ("new", "old", 0.456),
    "upgraded": ("new", "upgraded", 0.500),
    "backfill": ("new", "new", 0.570),
    "free_upgraded": ("free new", "upgraded", 0.490),
    "free_backfill": ("free new", "free new", 0.550),
}


def make_row(name: str, score: float | None = None, spread: float = 0.01) -> Row:
    query, gallery, default = PAIRINGS[name]
    score = default if score is None else score
    around = (score - spread, score + spread)
    return Row(
        name=name,
        query=query,
        gallery=gallery,
        map=score,
        recall_at_1=0.7,
        recall_at_10=1.0,
        map_interval=around,
        recall_at_1_interval=(0.68, 0.72),
        recall_at_10_interval=(1.0, 1.0),
    )


def make_ladder() -> Ladder:
    rungs = [
        Rung(name="identity", map=0.41, map_interval=(0.4, 0.42), seconds=0.0),
        Rung(name="ridge", map=0.52, map_interval=(0.51, 0.53), seconds=0.2, note="penalty 0.1"),
    ]
    return Ladder(chosen="ridge", pairs=1000, views=1, held_out_classes=12, rungs=rungs)


def make_record(*, quick: bool = False, scores: dict[str, float] | None = None, **changes: Any) -> ResultRecord:
    names = list(PAIRINGS)[: 4 if quick else 6]
    models = ["old", "new"] if quick else ["old", "new", "free new"]
    fields: dict[str, Any] = {
        "command": "bict demo --quick" if quick else "bict demo",
        "rows": [make_row(name, (scores or {}).get(name)) for name in names],
        "recovered_share": 5 / 12 if quick else 0.5,
        "update_gain": 0.05 if quick else 0.06,
        "compatibility_tax": None if quick else -0.02,
        "recovered_share_reference": "new" if quick else "free new",
        "reasons": {"compatibility_tax": "no free new model was trained"} if quick else {},
        "negative_flip_rate": 0.041,
        "positive_flip_rate": 0.087,
        "timing": {"train old": 74.1, "upgrade": 0.4},
        "versions": {"bict": "0.1.0"},
        "config": {"seed": 0, "old": {"width": 32, "classes": [1, 2]}},
        "spaces": {name: Space(name=name, fingerprint=f"{place}" * 16, dim=8) for place, name in enumerate(models)},
        "counts": {"queries": 1318, "gallery": 11862},
        "training": {
            name: [Epoch(epoch=e, loss=2 / e, classification=2 / e, backward=math.nan, seconds=1.0) for e in (1, 2)]
            for name in models
        },
        "ladder": make_ladder(),
        "free_ladder": None if quick else make_ladder(),
        "privacy": Privacy(files_opened=["gallery.lance"], refused=0),
    }
    return ResultRecord(**(fields | changes))


@pytest.fixture(name="make_record", scope="session")
def _make_record() -> Callable[..., ResultRecord]:
    return make_record


@pytest.fixture(scope="session")
def record() -> ResultRecord:
    return make_record()


@pytest.fixture(scope="session")
def quick() -> ResultRecord:
    return make_record(quick=True)


@pytest.fixture(scope="session")
def strips() -> list[Strip]:
    image = thumbnail(np.arange(64, dtype=np.uint8).reshape(8, 8))
    hits = [Hit(thumbnail=image, label=f"class {n}", right=n % 2 == 0) for n in range(8)]
    names = ("old", "backward", "upgraded", "backfill")
    return [Strip(query=image, label="class 0", why="drawn at random", rows=dict.fromkeys(names, hits))]
