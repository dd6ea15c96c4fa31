"""Wrong input is refused in one line that says what to do, and loses nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.pipeline.conftest import SMALL, Bict, Flow

import bict as library
from bict.embeddings import Embeddings

pytestmark = pytest.mark.slow
Captured = pytest.CaptureFixture[str]


def refused(bict: Bict, capsys: Captured, *arguments: object, code: int = 1) -> str:
    """The one line a command line is refused with."""
    capsys.readouterr()
    assert bict(*arguments) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bict: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "--epohcs", "3"], "--epochs"),
        (["trian"], "train"),
        (["demo", "--data", "glyfs"], "'glyphs'"),
        (["train", "--data", "glyphs:galery", "--out", "x"], "'gallery'"),
        (["train", "--data", "glyphs:train,sead=1", "--out", "x"], "'seed'"),
        (["train", "--data", "glyphs", "--out", "x", "--epochs", "many"], "--epochs"),
        (["train", "--data", "glyphs", "--out", "x", "--backward-weight", "-1"], "--backward-weight"),
        (["train", "--data", "glyphs", "--out", "x", "--pixel-cache", "-1"], "expected 0 or more megabytes"),
    ],
)
def test_unknown_names_and_values(bict: Bict, capsys: Captured, arguments: list[str], hint: str) -> None:
    assert hint in refused(bict, capsys, *arguments, code=2)


@pytest.mark.parametrize(
    ("option", "value", "nearest"),
    [
        ("--backbone", "conv-smal", "conv-small"),
        ("--pooling", "gam", "gem"),
        ("--classification", "arkface", "arcface"),
        ("--backward-loss", "influense", "influence"),
    ],
)
def test_unknown_choices_name_the_nearest(
    flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path, option: str, value: str, nearest: str
) -> None:
    line = refused(bict, capsys, "train", "--data", flow.photos, option, value, "--out", tmp_path / "m", code=2)
    assert nearest in line
    assert not (tmp_path / "m" / "model.json").exists()


def test_folders_without_enough_images(flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images" in refused(bict, capsys, "demo", "--data", tmp_path / "empty", "--out", tmp_path / "o")
    shutil.copytree(flow.photos / "A", tmp_path / "one" / "A")
    assert "1 classes" in refused(bict, capsys, "demo", "--data", tmp_path / "one", "--out", tmp_path / "o")
    for name in "AB":
        (tmp_path / "single" / name).mkdir(parents=True)
        shutil.copy(flow.photos / name / "00.png", tmp_path / "single" / name / "00.png")
    assert "at least 2 images" in refused(bict, capsys, "demo", "--data", tmp_path / "single", "--out", tmp_path / "o")


def test_damaged_images_are_counted_and_named(flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(flow.photos, photos)
    whole = (photos / "A" / "00.png").read_bytes()
    (photos / "A" / "00.png").write_bytes(whole[: len(whole) // 2])
    (photos / "A" / "note.txt").write_text("no image")
    assert bict("embed", flow.old, photos, "--to", tmp_path / "v.parquet", "--json") == 0
    skipped = json.loads(capsys.readouterr().out)["skipped"]
    assert len(skipped) == 2
    assert "A/00.png" in skipped[0]
    line = refused(bict, capsys, "embed", flow.old, photos, "--strict", "--to", tmp_path / "w.parquet")
    assert "A/00.png" in line
    assert not (tmp_path / "w.parquet").exists()


def test_transform_in_the_wrong_place(flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    assert bict("embed", flow.new, f"{flow.photos}:gallery", "--to", gallery) == 0
    assert "other way round" in refused(bict, capsys, "upgrade", gallery, flow.transform, "--yes")
    assert library.Gallery.open(gallery).active_column == "v1"
    stranger = tmp_path / "stranger"
    assert bict("train", "--data", flow.photos, *SMALL, "--epochs", 0, "--seed", 9, "--out", stranger) == 0
    assert bict("embed", stranger, f"{flow.photos}:gallery", "--to", tmp_path / "g2") == 0
    assert "expected" in refused(bict, capsys, "upgrade", tmp_path / "g2", flow.transform, "--yes")
    line = refused(bict, capsys, "search", gallery, flow.photos / "A" / "00.png", "--model", stranger)
    assert "cannot be compared" in line


def test_another_dimension(flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path) -> None:
    other = ("--compatible-with", flow.old, "--dim", 8)
    line = refused(bict, capsys, "train", "--data", flow.photos, *SMALL, *other, "--out", tmp_path / "m")
    assert "--dim 16" in line


@pytest.mark.parametrize("problem", ["nan", "inf", "zero", "duplicate"])
def test_vectors_that_are_none(flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path, problem: str) -> None:
    assert bict("embed", flow.old, f"{flow.photos}:gallery", "--to", tmp_path / "v.npz") == 0
    good = Embeddings.load(tmp_path / "v.npz")
    vectors, ids = good.vectors.copy(), good.ids.copy()
    if problem == "duplicate":
        ids[1] = ids[0]
    else:
        vectors[1] = {"nan": np.nan, "inf": np.inf, "zero": 0.0}[problem]
    space = np.array(good.space.model_dump_json())
    np.savez(tmp_path / "bad.npz", allow_pickle=False, ids=ids, vectors=vectors, labels=good.labels, space=space)
    line = refused(bict, capsys, "evaluate", tmp_path / "bad.npz", "--data", tmp_path / "v.npz")
    assert str(ids[1]) in line


def test_altered_or_missing_weights(flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path) -> None:
    model = shutil.copytree(flow.old, tmp_path / "model")
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    arguments = ("embed", model, flow.photos, "--to", tmp_path / "v.parquet")
    assert "altered" in refused(bict, capsys, *arguments)
    (model / "model.safetensors").unlink()
    assert "missing" in refused(bict, capsys, *arguments)
    assert "model.json" in refused(bict, capsys, "embed", tmp_path, flow.photos, "--to", tmp_path / "v.parquet")


def test_paths_that_are_no_gallery_and_cannot_be_written(
    flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path
) -> None:
    for path in (tmp_path / "nothing", flow.old):
        assert "gallery" in refused(bict, capsys, "upgrade", path, flow.transform, "--yes")
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "run"
    assert "--out" in refused(bict, capsys, "train", "--data", flow.photos, *SMALL, "--out", below)
    assert "--out" in refused(bict, capsys, "demo", "--data", flow.photos, "--out", below)
    assert bict("embed", flow.old, flow.photos, "--to", below / "g") == 1
    assert "no directory" in refused(bict, capsys, "upgrade", flow.make_gallery(tmp_path / "g"), tmp_path / "nopsi")


def test_a_directory_with_another_run_is_refused(flow: Flow, bict: Bict, capsys: Captured) -> None:
    weights = (flow.old / "model.safetensors").read_bytes()
    line = refused(bict, capsys, "train", "--data", flow.photos, *SMALL, "--seed", 5, "--out", flow.old)
    assert "choose another --out" in line
    assert (flow.old / "model.safetensors").read_bytes() == weights


def test_no_image_among_the_queries(flow: Flow, bict: Bict, capsys: Captured, tmp_path: Path) -> None:
    gallery = flow.make_gallery(tmp_path / "g")
    (tmp_path / "x.jpg").write_text("hello")
    assert "x.jpg" in refused(bict, capsys, "search", gallery, tmp_path / "x.jpg", "--model", flow.old)
    Image.new("RGB", (8, 8)).save(tmp_path / "y.png")
    assert "k=0" in refused(bict, capsys, "search", gallery, tmp_path / "y.png", "--model", flow.old, "--k", 0, code=2)
