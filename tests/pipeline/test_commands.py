"""Every step as a command on files: what a user types after the demo."""

from __future__ import annotations

import json
from pathlib import Path

import lancedb
import numpy as np
import pytest
from tests.pipeline.conftest import Bict, Flow

import bict as library

pytestmark = pytest.mark.slow


def test_the_chain_of_commands(flow: Flow, bict: Bict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = flow.make_gallery(tmp_path / "gallery")
    queries = f"{flow.photos}:query"
    before = library.Gallery.open(gallery).vectors("v1")
    capsys.readouterr()

    assert bict("evaluate", gallery, "--model", flow.new, "--data", queries, "--json") == 0
    backward = json.loads(capsys.readouterr().out)
    assert bict("upgrade", gallery, flow.transform, "--yes", "--json") == 0
    upgrade = json.loads(capsys.readouterr().out)
    assert upgrade["column"] == "v2"
    assert all(check["passed"] for check in upgrade["checks"])
    assert bict("evaluate", gallery, "--model", flow.new, "--data", queries, "--json") == 0
    upgraded = json.loads(capsys.readouterr().out)
    assert 0 < backward["map"] <= 1
    assert 0 < upgraded["map"] <= 1
    assert backward["gallery"] == "old"
    assert upgraded["gallery"] == "new"

    after = library.Gallery.open(gallery)
    assert np.array_equal(after.vectors("v1").vectors, before.vectors)
    expected = library.Transform.load(flow.transform).apply(before)
    assert np.allclose(after.vectors().vectors, expected.vectors, atol=1e-5)
    assert lancedb.connect(str(gallery)).open_table("vectors").count_rows() == len(before)

    assert bict("upgrade", gallery, flow.transform, "--yes") == 0
    assert "upgraded before" in capsys.readouterr().out


def test_search_finds_the_picture_itself(
    flow: Flow, bict: Bict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = flow.make_gallery(tmp_path / "gallery")
    stored = library.Gallery.open(gallery).vectors()
    picture = flow.photos / str(stored.ids[0])
    capsys.readouterr()
    assert bict("search", gallery, picture, "--model", flow.old, "--k", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comparison"] == "same space"
    assert found["hits"][0]["id"] == stored.ids[0]
    assert found["hits"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert bict("search", gallery, picture, "--model", flow.new, "--k", 3) == 0
    assert "backward compatible" in capsys.readouterr().out


def test_new_images_join_an_upgraded_gallery_in_the_new_space(
    flow: Flow, bict: Bict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = flow.make_gallery(tmp_path / "gallery")
    rows = len(library.Gallery.open(gallery))
    assert bict("upgrade", gallery, flow.transform, "--yes") == 0
    assert bict("embed", flow.old, f"{flow.photos}:query", "--to", gallery) == 1
    assert "choose another --to" in capsys.readouterr().err
    assert bict("embed", flow.new, f"{flow.photos}:query", "--to", gallery) == 0
    assert len(library.Gallery.open(gallery)) > rows


def test_files_stand_in_for_galleries_and_queries(
    flow: Flow, bict: Bict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("query", "gallery"):
        assert bict("embed", flow.old, f"{flow.photos}:{part}", "--to", tmp_path / f"{part}.parquet") == 0
    capsys.readouterr()
    assert bict("evaluate", tmp_path / "gallery.parquet", "--data", tmp_path / "query.parquet", "--json") == 0
    from_files = json.loads(capsys.readouterr().out)
    gallery = flow.make_gallery(tmp_path / "gallery")
    capsys.readouterr()
    assert bict("evaluate", gallery, "--data", f"{flow.photos}:query", "--model", flow.old, "--json") == 0
    assert json.loads(capsys.readouterr().out)["map"] == pytest.approx(from_files["map"], abs=1e-4)


def test_a_config_file_sets_options_and_the_command_line_wins(
    flow: Flow, bict: Bict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text("backbone: conv-small\ndim: 8\nepochs: 1\nbatch-size: 32\n")
    assert bict("train", "--data", flow.photos, "--config", config, "--dim", 12, "--out", tmp_path / "model") == 0
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert (card["backbone"], card["dim"], card["training"]["epochs"]) == ("conv-small", 12, 1)
    config.write_text("epohcs: 1\n")
    assert bict("train", "--data", flow.photos, "--config", config, "--out", tmp_path / "other") == 2
    assert "did you mean 'epochs'" in capsys.readouterr().err
