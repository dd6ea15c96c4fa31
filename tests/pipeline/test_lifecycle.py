"""The steps of an upgrade and the gallery's own commands, as an operator types them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bict as library
from bict.cli import command
from bict.gallery import Gallery


@pytest.fixture
def gallery(flow, tmp_path):
    return flow.make_gallery(tmp_path / "gallery")


def answer(bict, capsys, *words):
    """The JSON that a command prints."""
    capsys.readouterr()
    assert bict(*words, "--json") == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refused(bict, capsys, *words, code=1):
    """The one line that a refused command prints."""
    capsys.readouterr()
    assert bict(*words) == code
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("bict: ")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    return lines[0]


def test_an_upgrade_step_by_step_and_back(bict, capsys, flow, gallery):
    planned = answer(bict, capsys, "upgrade", "plan", gallery, flow.transform)
    assert (planned["passed"], planned["column"], planned["rows"]) == (True, "v2", len(Gallery.open(gallery)))
    assert answer(bict, capsys, "upgrade", "status", gallery)["state"] == "none"
    digest = planned["steps"][0]["transform"]
    assert "not the planned one" in refused(bict, capsys, "upgrade", "run", gallery, flow.transform, "--expect", "f00")
    assert answer(bict, capsys, "upgrade", "run", gallery, flow.transform, "--expect", digest[:12])["column"] == "v2"
    assert "was not verified" in refused(bict, capsys, "upgrade", "switch", gallery)
    verified = answer(bict, capsys, "upgrade", "verify", gallery, flow.transform)
    assert verified["passed"]
    assert "searched exactly" in answer(bict, capsys, "upgrade", "index", gallery)["done"]
    assert answer(bict, capsys, "upgrade", "switch", gallery)["column"] == "v2"
    assert answer(bict, capsys, "upgrade", "rollback", gallery)["column"] == "v1"
    assert answer(bict, capsys, "upgrade", "status", gallery)["state"] == "staged"
    assert answer(bict, capsys, "upgrade", "discard", gallery)["column"] == "v2"
    assert "no column" in refused(bict, capsys, "upgrade", "switch", gallery)


def test_every_step_prints_lines_for_people(bict, capsys, flow, gallery):
    for words, text in [
        (("plan", gallery, flow.transform), "nothing was written"),
        (("run", gallery, flow.transform), "bict upgrade verify"),
        (("status", gallery), "v2 is staged"),
        (("verify", gallery, flow.transform), "recomputed sample"),
        (("index", gallery), "rows are searched exactly"),
        (("switch", gallery), "v2: live"),
        (("rollback", gallery), "v1: live again"),
    ]:
        assert bict("upgrade", *words) == 0
        printed = capsys.readouterr().out
        assert text in printed
        assert "PROBLEM" not in printed


def test_a_plan_with_problems_and_a_failed_check_exit_with_one(bict, capsys, flow, gallery, tmp_path):
    assert bict("upgrade", "run", gallery, flow.transform) == 0
    backwards = tmp_path / "psi2"
    fit = ("--old", flow.new, "--new", flow.old, "--data", flow.photos, "--views", 1, "--epochs", 1)
    assert bict("fit", *fit, "--out", backwards) == 0
    capsys.readouterr()
    assert bict("upgrade", "plan", gallery, backwards) == 1
    assert "other way round" in capsys.readouterr().out
    store = Gallery.open(gallery).store
    entry = next(iter(store.ledger("v2").entries().values()))
    data = gallery / "vectors.lance" / "data"
    victims = [path for path in data.iterdir() if path.name == entry.receipt]
    content = bytearray(victims[0].read_bytes())
    content[100] ^= 0x40
    victims[0].write_bytes(content)
    assert bict("upgrade", "verify", gallery, flow.transform) == 1
    assert "FAILED" in capsys.readouterr().out
    assert "was not verified" in refused(bict, capsys, "upgrade", "switch", gallery)


def test_the_whole_upgrade_asks_first(bict, capsys, flow, gallery, monkeypatch):
    assert "add --yes" in refused(bict, capsys, "upgrade", gallery, flow.transform, code=2)
    asked = []
    monkeypatch.setattr(command, "ask", lambda question: asked.append(question) or False)
    assert "not confirmed" in refused(bict, capsys, "upgrade", gallery, flow.transform)
    assert "go to column v2" in asked[0]
    assert Gallery.open(gallery).metadata.staged is None
    monkeypatch.setattr(command, "ask", lambda question: True)
    assert bict("upgrade", gallery, flow.transform) == 0
    assert Gallery.open(gallery).active_column == "v2"


def test_finalize_asks_names_the_cost_and_keeps_the_base(bict, capsys, flow, gallery, monkeypatch):
    assert bict("upgrade", gallery, flow.transform, "--yes") == 0
    rows = len(Gallery.open(gallery))
    asked = []
    monkeypatch.setattr(command, "ask", lambda question: asked.append(question) or False)
    done = answer(bict, capsys, "upgrade", "finalize", gallery)
    assert (done["dropped"], done["kept"], done["bytes_kept"]) == ([], ["v1"], rows * 16 * 4)
    assert f"{rows * 16 * 4:,} bytes" in asked[0]
    assert answer(bict, capsys, "upgrade", "finalize", gallery, "--drop-base", "--yes")["dropped"] == ["v1"]
    assert list(Gallery.open(gallery).spaces) == ["v2"]
    assert "nothing to roll back to" in refused(bict, capsys, "upgrade", "rollback", gallery)


def test_a_gallery_is_shown_exported_imported_and_erased_from(bict, capsys, flow, gallery, tmp_path):
    assert bict("upgrade", gallery, flow.transform, "--yes") == 0
    assert bict("gallery", "info", gallery) == 0
    printed = capsys.readouterr().out
    assert "written by its model -> transform" in printed
    assert "transform" in printed
    file = tmp_path / "out.parquet"
    moved = answer(bict, capsys, "gallery", "export", gallery, "--to", file)
    again = tmp_path / "again"
    assert answer(bict, capsys, "gallery", "import", file, "--to", again)["rows"] == moved["rows"]
    first, second = Gallery.open(gallery).vectors(), Gallery.open(again).vectors()
    assert first.ids.tolist() == second.ids.tolist()
    assert first.labels.tolist() == second.labels.tolist()
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert Gallery.open(again).active_space.same_as(library.Model.load(flow.new).space)
    victim, other = first.ids[:2]
    (tmp_path / "ids.txt").write_text(f"{other}\n\n")
    done = answer(bict, capsys, "gallery", "delete", gallery, victim, "--ids-file", tmp_path / "ids.txt")
    assert (done["rows"], done["asked"]) == (2, 2)
    assert not {victim, other} & set(Gallery.open(gallery).vectors().ids)


def test_npy_and_parquet_of_others_are_imported_with_a_space(bict, capsys, flow, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "v.npy", vectors)
    assert "add --space" in refused(bict, capsys, "gallery", "import", tmp_path / "v.npy", "--to", tmp_path / "g")
    assert bict("gallery", "import", tmp_path / "v.npy", "--to", tmp_path / "g", "--space", flow.old) == 0
    assert Gallery.open(tmp_path / "g").vectors().ids.tolist() == list(range(50))
    card = tmp_path / "card.json"
    card.write_text(library.Model.load(flow.old).space.model_dump_json())
    table = pa.table({"key": [f"k{row}" for row in range(50)], "emb": list(vectors), "shop": ["x"] * 50})
    pq.write_table(table, tmp_path / "v.parquet")
    names = ("--id-column", "key", "--vector-column", "emb", "--space", card)
    assert bict("gallery", "import", tmp_path / "v.parquet", "--to", tmp_path / "h", *names) == 0
    assert Gallery.open(tmp_path / "h").payload_columns == ["shop"]
    message = refused(
        bict, capsys, "gallery", "import", tmp_path / "v.parquet", "--to", tmp_path / "i", *names[2:], code=2
    )
    assert "unknown column" in message
    card.write_text("{}")
    assert "is no space card" in refused(
        bict, capsys, "gallery", "import", tmp_path / "v.npy", "--to", tmp_path / "j", "--space", card
    )


def test_wrong_input_is_one_line_and_changes_nothing(bict, capsys, flow, gallery, tmp_path):
    before = Gallery.open(gallery).metadata
    altered = tmp_path / "psi"
    shutil.copytree(flow.transform, altered)
    card = json.loads((altered / "transform.json").read_text())
    card["settings"]["seed"] = 12345
    (altered / "transform.json").write_text(json.dumps(card))
    ids = tmp_path / "ids.txt"
    ids.write_text("nobody\n")
    assert answer(bict, capsys, "gallery", "delete", gallery, "--ids-file", ids)["rows"] == 0
    for words, text in [
        (("upgrade", "run", gallery, altered), "altered"),
        (("upgrade", "verify", gallery, flow.transform, "--sample", "-1"), "expected 0 or more"),
        (("upgrade", "status", tmp_path / "nowhere"), "is not a gallery"),
        (("gallery", "adopt", gallery, "--vector-column", "v1", "--space", flow.old), "is a gallery already"),
        (("gallery", "export", gallery, "--to", tmp_path / "x.csv"), "ends in .parquet"),
        (("gallery", "export", gallery, "--to", tmp_path / "x.parquet", "--column", "v3"), "vector column 'v3'"),
        (("gallery", "delete", gallery), ""),
        (("gallery", "infos", gallery), ""),
    ]:
        capsys.readouterr()
        assert bict(*words) in (1, 2)
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bict: ")]
        assert len(errors) == 1
        assert text in errors[0]
    assert Gallery.open(gallery).metadata == before
