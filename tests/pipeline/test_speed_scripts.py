"""The scripts behind the speeds in the documents, in small: they run, and what they measure is what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bict.assessment.vector_file import open_vector_file
from bict.embeddings import Embeddings
from bict.gallery import forecast

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
    return module


def test_fit_on_files_of_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = script("fit_scale")
    for name, value in {"CHUNK": 256, "CLASSES": 40, "UNSEEN": 300, "QUERIES": 50}.items():
        monkeypatch.setattr(scale, name, value)
    scale.write(tmp_path, 900, "float16")
    old, new = (Embeddings.load(tmp_path / f"{side}.parquet", open_space(tmp_path, side)) for side in scale.SIDES)
    assert sorted(new.ids) == old.ids.tolist() != new.ids.tolist()
    at = {name: row for row, name in enumerate(new.ids.tolist())}
    rows = [at[name] for name in old.ids.tolist()]
    assert new.labels[rows].tolist() == old.labels.tolist()  # rows of one id are one item
    assert (scale.plain(tmp_path)["rows"], scale.read(tmp_path)["pairs"]) == (1800, 900)
    found = scale.accuracy(tmp_path, 800)
    assert found["pairs"] == 800
    assert found["ridge"]["cosine"] > 0.5
    fitted = scale.fit(tmp_path, "ridge")
    assert fitted["rung"] == "ridge"
    assert fitted["seconds"] > 0 < fitted["peak_megabytes"]


def open_space(folder: Path, side: str):
    return open_vector_file(folder / f"{side}.parquet").space


def test_training_on_photos_that_are_kept() -> None:
    speed = script("training_speed")
    assert speed.measure("conv-small", 1, 64)["images"] == 64
    found = speed.measure_photos("conv-small", 40, 2)
    assert [len(rates) for rates in found["images_per_second"].values()] == [3, 3]
    assert len(found["ratios"]) == 2


def test_an_upgrade_beside_its_stages_and_its_forecast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    throughput = script("upgrade_throughput")
    for name, rows in (("FIRST", 1500), ("LEAST", 3000), ("MOST", 3000)):
        monkeypatch.setattr(forecast, name, rows)
    monkeypatch.setattr(
        throughput, "alone", lambda part, *words: throughput.PARTS[part](words[0], words[1], (*words, "mlp")[2])
    )
    results = throughput.one_size("lance", 2000, ["linear", "mlp in bfloat16"], index=True)
    assert [one["transform"] for one in results] == ["linear", "mlp in bfloat16"]
    for one in results:
        rates = {name: one[f"{name}_rows_per_second"] for name in ("scan", "transform", "write")}
        assert one["slowest_stage"] == min(rates, key=rates.get)
        share = one["staging_rows_per_second"] / rates[one["slowest_stage"]]
        assert one["staging_share_of_slowest_stage"] == pytest.approx(share)
        assert one["forecast_over_measured"]["all"] > 0
        assert one["peak_megabytes"] >= one["peak_megabytes_before_staging"]
    assert "index_rows_per_second" in results[0]
    assert "index_rows_per_second" not in results[1]
    throughput.show(results)


@pytest.mark.parametrize(("workers", "seconds"), [(1, 5 + 6 * 12), (2, 5 + 3 * 12), (6, 5 + 12), (9, 5 + 12)])
def test_a_simulated_cluster_without_accidents_takes_what_one_counts(monkeypatch, workers: int, seconds: int) -> None:
    model = script("cluster_model")
    for name, value in (("SPREAD", 0), ("DEATHS", 0), ("DRIVER_SECONDS", 0)):
        monkeypatch.setattr(model, name, value)
    assert model.simulate(6, workers, compute=12, transfer=0, seed=0) == seconds


def test_a_simulated_cluster_waits_for_a_slow_storage_and_survives_deaths(monkeypatch) -> None:
    model = script("cluster_model")
    assert model.simulate(100, 50, compute=1, transfer=2, seed=0) >= 2 * 2 * 100
    monkeypatch.setattr(model, "DEATHS", 0.5)
    assert model.simulate(30, 4, compute=10, transfer=0, seed=0) > 30 * 10 / 4
