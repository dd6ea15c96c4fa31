"""The demo: the whole upgrade in one command, also when it is interrupted in every step."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lancedb
import numpy as np
import pytest
from tests.pipeline.conftest import Bict

import bict
from bict.evaluation import evaluate_pair

pytestmark = pytest.mark.slow

KEYS = {
    "schema", "rows", "recovered_share", "update_gain", "compatibility_tax", "negative_flip_rate",
    "positive_flip_rate", "timing", "versions", "config", "spaces",
}  # fmt: skip
MARKS = ("old/settings.json", "gallery", "new/checkpoint.safetensors", "transform-new", "backfill-new.parquet")


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda _name: None)  # small networks, as without the extra
        bict.demo(data=str(photos), out=out)
    return out


def test_the_record_has_every_key_and_row(finished: Path) -> None:
    record = json.loads((finished / "result.json").read_text())
    assert set(record) >= KEYS
    names = [row["name"] for row in record["rows"]]
    assert names == ["old", "backward", "upgraded", "backfill", "free_upgraded", "free_backfill"]
    for row in record["rows"]:
        for score in ("map", "recall@1", "recall@10"):
            low, high = row[f"{score}_interval"]
            assert 0 <= low <= row[score] <= high <= 1
    assert record["privacy"]["refused"] == 0
    assert sum(record["timing"].values()) > 0


def test_figures_follow_from_the_rows(finished: Path) -> None:
    record = json.loads((finished / "result.json").read_text())
    score = {row["name"]: row["map"] for row in record["rows"]}
    gap = score["free_backfill"] - score["old"]
    assert record["compatibility_tax"] == pytest.approx(score["free_backfill"] - score["backfill"])
    if gap > 0:
        assert record["recovered_share"] == pytest.approx((score["upgraded"] - score["old"]) / gap)
    else:
        assert record["recovered_share"] is None
        assert record["reasons"]["recovered_share"]


def test_upgraded_row_is_what_the_store_holds(finished: Path) -> None:
    record = json.loads((finished / "result.json").read_text())
    table = lancedb.connect(str(finished / "gallery")).open_table("vectors").to_arrow()
    gallery = bict.Gallery.open(finished / "gallery")
    stored = np.stack(table["v2"].to_numpy(zero_copy_only=False))
    assert np.array_equal(stored, gallery.vectors().vectors)
    photos = Path(record["command"].split("--data ")[1].split(" --")[0])
    query = finished / "query.parquet"
    bict.embed(finished / "new", f"{photos}:query", to=query)
    again = evaluate_pair(
        bict.Embeddings.load(query), gallery.vectors(), name="again", query_name="new", gallery_name="upgraded"
    )
    assert again.scores["map"] == pytest.approx(record["rows"][2]["map"], abs=1e-6)
    query.unlink()


def test_splits_are_written_and_disjoint(finished: Path) -> None:
    splits = json.loads((finished / "splits.json").read_text())
    classes = {part: {name.split("/")[0] for name in ids} for part, ids in splits.items()}
    assert not classes["train"] & (classes["query"] | classes["gallery"])
    assert not set(splits["query"]) & set(splits["gallery"])
    assert set(splits["old-train"]) < set(splits["train"])


def test_started_again_it_does_nothing_twice(finished: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    before = (finished / "new" / "model.safetensors").stat().st_mtime_ns
    first = json.loads((finished / "result.json").read_text())
    bict.demo(data=str(photos), out=finished)
    again = json.loads((finished / "result.json").read_text())
    assert (finished / "new" / "model.safetensors").stat().st_mtime_ns == before
    assert again["rows"] == first["rows"]
    assert again["privacy"] == first["privacy"]
    assert first["privacy"]["files_opened"]
    with pytest.raises(bict.BictError, match="choose another --out"):
        bict.demo(data=str(photos), out=finished, seed=1)


def test_report_is_made_again_from_the_record(
    finished: Path, bict_command: Bict, capsys: pytest.CaptureFixture[str]
) -> None:
    page = finished / "report.html"
    first = page.read_text()
    page.unlink()
    assert bict_command("report", finished) == 0
    assert page.read_text() == first
    (finished / "damaged").mkdir()
    (finished / "damaged" / "result.json").write_text('{"schema": 1')
    capsys.readouterr()
    assert bict_command("report", finished / "damaged") == 1
    shutil.rmtree(finished / "damaged")


def start(photos: Path, out: Path) -> subprocess.Popen[str]:
    code = (
        "import importlib.util, sys; from bict.cli.main import main; importlib.util.find_spec = lambda _: None; main()"
    )
    arguments = [sys.executable, "-c", code, "demo", "--quick", "--data", photos, "--out", out]
    return subprocess.Popen(list(map(str, arguments)), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_in_every_step_it_goes_on(photos: Path, tmp_path: Path, how: signal.Signals) -> None:
    straight = start(photos, tmp_path / "straight")
    assert straight.communicate(timeout=300)[1] is not None
    assert straight.returncode == 0
    out = tmp_path / "interrupted"
    for mark in MARKS:
        process = start(photos, out)
        while process.poll() is None and not (out / mark).exists():
            time.sleep(0.01)
        process.send_signal(how)
        _, complaint = process.communicate(timeout=300)
        if how is signal.SIGINT and process.returncode != 0:
            assert process.returncode == 130
            assert complaint.splitlines()[-1].startswith("bict: interrupted")
    last = start(photos, out)
    _, complaint = last.communicate(timeout=300)
    assert last.returncode == 0, complaint
    rows = [json.loads((path / "result.json").read_text())["rows"] for path in (tmp_path / "straight", out)]
    for one, other in zip(*rows, strict=True):
        assert one["map"] == pytest.approx(other["map"], abs=1e-3)
