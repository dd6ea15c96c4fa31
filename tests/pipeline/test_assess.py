"""Two files of vectors to a verdict, a transform and an upgraded gallery, by the commands a user types."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.pipeline.conftest import run
from tests.unit.assessment.made import world

from bict.embeddings import SPACE_KEY
from bict.transforms import QueryBridge, Transform

pytestmark = pytest.mark.slow
Captured = pytest.CaptureFixture[str]


def write(path: Path, ids: np.ndarray, vectors: np.ndarray, **columns: np.ndarray) -> Path:
    pq.write_table(pa.table({"id": ids, "vector": list(vectors), **columns}), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Vectors of both models for the shared items, in different orders, and the gallery's old vectors."""
    folder, pairs = tmp_path_factory.mktemp("files"), world(classes=70)
    shared, order = np.arange(400), np.random.default_rng(0).permutation(400)
    old = write(folder / "old.parquet", pairs.ids[shared], pairs.old[shared], label=pairs.labels[shared])
    new = write(folder / "new.parquet", pairs.ids[order], pairs.new[order].astype(np.float64))
    gallery = write(folder / "gallery.parquet", pairs.ids[400:], pairs.old[400:])
    return old, new, gallery


def test_assess_fit_upgrade(files: tuple[Path, Path, Path], tmp_path: Path, capsys: Captured) -> None:
    old, new, vectors = files
    out, psi, gallery = tmp_path / "assessment", tmp_path / "psi", tmp_path / "gallery"
    assert run("assess", "--old", old, "--new", new, "--out", out, "--json", "--threshold", 0.5) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "upgrade"
    assert json.loads((out / "assessment.json").read_text()) == record
    for name in ("old", "upgraded", "backfill", "recovered_share", "negative_flip_rate"):
        low, high = record[name]["interval"]
        assert low <= record[name]["value"] <= high
    assert record["confidence"]["ratios"][0] == 0
    page = (out / "assessment.html").read_text()
    assert "Upgrade the gallery" in page
    assert "<script" not in page

    assert run("fit", "--old", old, "--new", new, "--out", psi) == 0
    assert Transform.load(psi).rung.name == record["chosen"]
    space = psi / "old.space.json"
    assert json.loads(space.read_text()) == record["spaces"]["old"]
    assert run("gallery", "import", vectors, "--to", gallery, "--space", space) == 0
    assert run("upgrade", gallery, psi, "--yes") == 0
    assert run("gallery", "info", gallery) == 0
    assert Transform.load(psi).target.name in capsys.readouterr().out


def test_doubtful_items_of_a_gallery(files: tuple[Path, Path, Path], tmp_path: Path, capsys: Captured) -> None:
    old, new, stored = files
    psi, listing = tmp_path / "psi", tmp_path / "doubtful.csv"
    assert run("fit", "--old", old, "--new", new, "--rung", "ridge", "--out", psi) == 0
    capsys.readouterr()
    words = ("doubtful", psi, stored, "--space", psi / "old.space.json", "--out", listing)
    assert run(*words, "--share", 0.25, "--json") == 0
    assert json.loads(capsys.readouterr().out)["items"] == 40
    lines = [line.split(",") for line in listing.read_text().splitlines()]
    assert lines[0] == ["id", "predicted_error"]
    errors = [float(error) for _, error in lines[1:]]
    assert errors == sorted(errors, reverse=True)
    assert len({name for name, _ in lines[1:]}) == 40
    assert "space" in refused(capsys, "doubtful", psi, stored, "--out", listing)  # its own card is another one
    assert "error" in refused(capsys, "doubtful", tmp_path, stored, "--out", listing)
    card = {**json.loads((psi / "old.space.json").read_text()), "fingerprint": "f" * 16}
    carded = tmp_path / "carded.parquet"
    pq.write_table(pq.read_table(stored).replace_schema_metadata({SPACE_KEY: json.dumps(card)}), carded)
    assert "says of itself" in refused(capsys, "doubtful", psi, carded, *words[3:])

    rows = np.random.default_rng(1).standard_normal((20, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[3], rows[7, 2] = 0, np.nan
    some = write(tmp_path / "some.parquet", np.arange(20), rows)
    words = ("doubtful", psi, some, "--space", psi / "old.space.json", "--out", listing, "--json")
    assert run(*words) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == 2
    assert not {"3", "7"} & {line.split(",")[0] for line in listing.read_text().splitlines()}
    none = write(tmp_path / "none.parquet", np.arange(3), rows[:3] * 0)
    assert "no vector" in refused(capsys, "doubtful", psi, none, *words[3:])


def test_a_bridge_by_name(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    old, new, _ = files
    options = ("--rung", "bridge-procrustes", "--out", tmp_path / "bridge")
    assert run("fit", "--old", old, "--new", new, *options) == 0
    assert QueryBridge.load(tmp_path / "bridge").source.dim == 32


@pytest.mark.parametrize(("option", "value"), [("--views", 2), ("--epochs", 3), ("--held-out", 0.5)])
def test_a_setting_of_models_is_refused_with_files(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: Captured, option: str, value: float
) -> None:
    old, new, _ = files
    said = refused(capsys, "fit", "--old", old, "--new", new, "--out", tmp_path / "psi", option, value, code=2)
    assert option in said


def test_bounds_decide_the_exit_code(files: tuple[Path, Path, Path], tmp_path: Path, capsys: Captured) -> None:
    old, new, _ = files
    base = ("assess", "--old", old, "--new", new, "--rungs", "ridge", "--out", tmp_path / "a")
    assert run(*base, "--min-recovered", 0.1, "--max-negative-flips", 0.9) == 0
    assert run(*base, "--min-recovered", 0.99) == 1
    assert "does not hold" in " ".join(capsys.readouterr().out.split())
    assert run("assess", "--old", new, "--new", old, "--rungs", "ridge", "--out", tmp_path / "b") == 1
    assert "Stay with the old model" in capsys.readouterr().out


def refused(capsys: Captured, *arguments: object, code: int = 1) -> str:
    capsys.readouterr()
    assert run(*arguments) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bict: ")]
    assert len(lines) == 1
    return lines[0]


def test_wrong_files_are_refused_in_one_line(files: tuple[Path, Path, Path], tmp_path: Path, capsys: Captured) -> None:
    old, new, gallery = files
    out = ("--out", tmp_path / "out")
    ids, vectors = np.arange(30), np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    other = write(tmp_path / "other.parquet", ids + 10_000, vectors)
    twice = write(tmp_path / "twice.parquet", np.repeat(ids, 2), np.repeat(vectors, 2, axis=0))
    uneven = write(tmp_path / "uneven.parquet", ids, [row[: 3 + at % 2] for at, row in enumerate(vectors)])
    zeros = write(tmp_path / "zeros.parquet", ids, vectors * (ids < 3)[:, None])
    cases = [
        (("--old", old, "--new", other), "share no ids"),
        (("--old", old, "--new", old), "two models"),
        (("--old", old, "--new", twice), "more than once"),
        (("--old", old, "--new", uneven), "unequal|length|numbers"),
        (("--old", zeros, "--new", old), "zero"),
        (("--old", old, "--new", tmp_path / "absent.parquet"), "no file"),
    ]
    for arguments, hint in cases:
        line = refused(capsys, "assess", *arguments, *out)
        assert any(word in line for word in hint.split("|")), (arguments, line)
        assert len(line) < 400
    assert "vektor" in refused(capsys, "assess", "--old", old, "--new", new, "--vector-column", "vektor", *out, code=2)
    assert "ridge" in refused(capsys, "assess", "--old", old, "--new", new, "--rungs", "rigde", *out, code=2)
    assert "--data" in refused(capsys, "fit", "--old", old, "--new", new, "--data", "glyphs", *out, code=2)
    assert "at least 20" in refused(
        capsys, "assess", "--old", write(tmp_path / "few.parquet", ids[:9], vectors[:9]), "--new",
        write(tmp_path / "few2.parquet", ids[:9], vectors[:9, :3]), *out,
    )  # fmt: skip
    assert not gallery.with_suffix(".space.json").exists()
