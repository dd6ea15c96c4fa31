"""Old indexes with upgraded vectors in them, as benchmarks/index_reuse.py measures by the million."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("faiss")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "index_reuse.py"
SMALL = ("--rows", "2000", "--queries", "40", "--dim", "16", "--pairs", "400", "--lists", "40", "--repeats", "1")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], list[dict[str, float]]]:
    record = tmp_path_factory.mktemp("record") / "index_reuse.json"
    words = [sys.executable, str(SCRIPT), *SMALL, "--json", str(record)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(record.read_text())["results"]
    return {(one["transform"], one["index"], one["way"]): one["points"] for one in found}


def test_every_way_is_measured_for_every_transform(results):
    assert len(results) == 3 * (5 + 2 + 4)
    for points in results.values():
        assert all(0 < point["recall"] <= 1 and point["looked_at"] > 0 for point in points)
        assert points[-1]["recall"] > 0.9


def test_a_rotation_takes_nothing_from_an_old_index(results):
    """It keeps every distance, so the old index is the one that would be built; a measure that says else is wrong."""
    for kind, way in (("hnsw", "old graph, new vectors"), ("ivf", "lists kept, centroids carried")):
        for reused, anew in zip(
            results["procrustes", kind, way], results["procrustes", kind, "built anew"], strict=True
        ):
            assert reused["recall"] == pytest.approx(anew["recall"], abs=0.02)
            assert reused["looked_at"] == pytest.approx(anew["looked_at"], rel=0.05)


def test_a_graph_of_other_distances_finds_less_for_as_many_vectors_looked_at(results):
    reused = results["ridge", "hnsw", "old graph, new vectors"][0]
    assert reused["recall"] < results["ridge", "hnsw", "built anew"][0]["recall"]
