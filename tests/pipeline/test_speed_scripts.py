"""The scripts behind the speeds in the documents, in small: they run, and what they measure is what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from bict.assessment.vector_file import open_vector_file
from bict.embeddings import Embeddings

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
