"""Landmark and face benchmarks in small, by the command a user types."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
from tests.pipeline.conftest import run

NAMES = ("A", "B", "D", "E")


@pytest.fixture
def root(flow, tmp_path: Path) -> Path:
    """Pictures of four characters in the layout of each benchmark."""
    for name in NAMES:
        for number in range(4):
            source = flow.photos / name / f"{number:02d}.png"
            for place in (f"roxford5k/jpg/{name}{number}.jpg", f"faces/{name}{number}.jpg"):
                (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, tmp_path / place)
    truth = {
        "imlist": [f"{name}{number}" for name in NAMES for number in range(1, 4)],
        "qimlist": [f"{name}0" for name in NAMES],
        "gnd": [
            {"bbx": [0, 0, 32, 32], "easy": [3 * at, 3 * at + 1], "hard": [3 * at + 2], "junk": []} for at in range(4)
        ],
    }
    (tmp_path / "roxford5k" / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(truth))
    lines = [f"{a}0.jpg,{b}{number}.jpg,{int(a == b)}" for a in NAMES for b in NAMES for number in (1, 2)]
    (tmp_path / "faces" / "pairs.csv").write_text("path_a,path_b,same\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_landmarks_with_one_model_and_after_an_upgrade(flow, root, capsys):
    words = ("benchmark", "roxford", "--model", flow.new, "--data-root", root, "--json")
    assert run(*words) == 0
    alone = json.loads(capsys.readouterr().out)
    assert set(alone) == {"easy", "medium", "hard"}
    assert 0.3 < alone["medium"]["map"] <= 1
    assert run(*words, "--gallery-model", flow.old, "--transform", flow.transform) == 0
    assert json.loads(capsys.readouterr().out)["medium"]["map"] > 0.3


def test_faces(flow, root, capsys):
    words = ("benchmark", "faces", "--model", flow.new, "--pairs", root / "faces" / "pairs.csv")
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["TAR@FAR=0.1"]
    assert 0 < found["TAR@FAR=0.1"]["rate"] <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("oxford",), "unknown benchmark 'oxford'"),
        (("faces",), "name it with --pairs"),
        (("gldv2",), "gldv2"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(flow, words, message, tmp_path, capsys):
    assert run("benchmark", *words, "--model", flow.new, "--data-root", tmp_path) in (1, 2)
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_gallery_of_an_incomparable_space_is_refused(flow, root, capsys):
    words = ("benchmark", "roxford", "--model", flow.old, "--gallery-model", flow.new, "--data-root", root)
    assert run(*words) == 1
    assert "cannot be compared" in capsys.readouterr().err
