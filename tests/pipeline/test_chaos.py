"""Upgrades that are killed at random moments, as benchmarks/chaos.py does by the hundred."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chaos.py"
BAD = ("rows_lost", "rows_wrong", "payload_changed", "searches_failed", "rollbacks_wrong", "unfinished")


@pytest.mark.slow
@pytest.mark.parametrize(("store", "runs"), [("lance", 10), ("postgresql", 10), ("qdrant", 3)])
def test_nothing_is_lost_when_upgrades_are_killed(store: str, runs: int, tmp_path: Path) -> None:
    record = tmp_path / "chaos.json"
    words = [sys.executable, str(SCRIPT), "--store", store, "--runs", str(runs), "--json", str(record)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(record.read_text())
    assert counts["runs"] == runs
    assert counts["kills"] >= runs
    assert {name: counts[name] for name in BAD} == dict.fromkeys(BAD, 0)
    if store != "qdrant":
        assert counts["searches"] > 100
