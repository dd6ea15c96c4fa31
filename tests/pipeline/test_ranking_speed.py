"""The comparison of benchmarks/ranking_speed.py in small: the libraries agree on the mAP."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ranking_speed.py"
SIZES = "--queries 60 --gallery 400 --dim 16 --classes 20 --repeats 1 --large 50 3000 16 100"


def test_every_way_finds_the_same_map(tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPT), *SIZES.split(), "--json", str(tmp_path / "record.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    maps = record["beside"]["map"]
    assert set(maps) == {"bict", "argsort per query", "pytorch-metric-learning", "torchmetrics"}
    assert 0.1 < maps["bict"] < 0.9
    assert max(maps.values()) - min(maps.values()) < 1e-4
    large = record["large"]
    assert large["rows"] == {"queries": 50, "rows": 3000, "dim": 16, "classes": 100}
    assert 0 < large["peak_mib"] < large["memory_mb"]
    assert 0 < large["scores"]["recall@1"] <= large["scores"]["recall@10"] <= 1
