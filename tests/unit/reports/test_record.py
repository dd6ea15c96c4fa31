from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bict.errors import RunError
from bict.reports.record import ResultRecord, load_record, save_record

Make = Callable[..., ResultRecord]


def altered(record: ResultRecord, path: Path, change: Callable[[Any], object]) -> Path:
    content = json.loads(save_record(record, path).read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("quick", [False, True])
def test_a_record_comes_back_as_it_was_written(tmp_path: Path, make_record: Make, quick: bool) -> None:
    record = make_record(quick=quick)
    loaded = load_record(save_record(record, tmp_path / "result.json"))
    assert loaded.model_dump_json() == record.model_dump_json()
    assert [row.name for row in loaded.rows][-1] == ("backfill" if quick else "free_backfill")


def test_the_file_has_exactly_these_keys(tmp_path: Path, record: ResultRecord) -> None:
    content = json.loads(save_record(record, tmp_path / "result.json").read_text())
    assert content["schema"] == 1
    assert set(content) == {
        *("schema", "command", "rows", "recovered_share", "update_gain", "compatibility_tax"),
        *("recovered_share_reference", "reasons", "negative_flip_rate", "positive_flip_rate", "timing", "versions"),
        *("config", "spaces", "counts", "training", "ladder", "free_ladder", "privacy"),
    }
    assert set(content["rows"][0]) == {
        *("name", "query", "gallery", "map", "recall@1", "recall@10"),
        *("map_interval", "recall@1_interval", "recall@10_interval", "note"),
    }
    assert content["rows"][0]["map_interval"] == pytest.approx([0.44, 0.46])
    assert set(content["training"]["old"][0]) == {"epoch", "loss", "classification", "backward", "seconds"}


def test_what_is_not_finite_becomes_null_and_comes_back_as_nan(tmp_path: Path, make_record: Make) -> None:
    record = make_record(scores={"backward": math.nan}, recovered_share=math.inf, update_gain=0.0)
    path = save_record(record, tmp_path / "result.json")
    content = json.loads(path.read_text())
    assert content["rows"][1]["map"] is None
    assert content["rows"][1]["map_interval"] == [None, None]
    assert content["training"]["old"][0]["backward"] is None
    assert content["recovered_share"] is None
    assert content["update_gain"] == 0
    loaded = load_record(path)
    assert math.isnan(loaded.by_name["backward"].map)
    assert loaded.recovered_share is None


def test_numpy_numbers_are_taken(make_record: Make) -> None:
    record = make_record(negative_flip_rate=np.float32(0.25), recovered_share=np.float64("nan"))
    assert record.negative_flip_rate == 0.25
    assert record.recovered_share is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda content: content.update(extra=1), "extra"),
        (lambda content: content["rows"][0].update(mrr=1), "rows.0.mrr"),
        (lambda content: content["ladder"]["rungs"][0].update(colour="red"), "ladder.rungs.0.colour"),
        (lambda content: content["rows"][0].update(map="0.5"), "rows.0.map"),
        (lambda content: content["rows"][0].update(map_interval=[0.1]), "rows.0.map_interval"),
        (lambda content: content.pop("command"), "command"),
        (lambda content: content["rows"].reverse(), "expected rows old, backward"),
        (lambda content: content["rows"].pop(2), "expected rows old, backward"),
        (lambda content: content["rows"].pop(), "no row free_backfill"),
        (lambda content: content["rows"][0].update(recall_at_1=content["rows"][0].pop("recall@1")), "recall@1"),
        (lambda content: content.update(schema=2), "schema 2"),
        (lambda content: content.pop("schema"), "schema None"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, record: ResultRecord, change: Callable[[Any], object], named: str
) -> None:
    path = altered(record, tmp_path / "result.json", change)
    with pytest.raises(RunError) as refusal:
        load_record(path)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_cut_off_is_refused(tmp_path: Path, record: ResultRecord) -> None:
    path = save_record(record, tmp_path / "result.json")
    path.write_text(path.read_text()[:-40])
    with pytest.raises(RunError, match="no complete JSON"):
        load_record(path)


def test_an_unknown_field_is_refused_in_python_too(make_record: Make) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        make_record(surprise=1)
