"""Bench records to tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bict.errors import RunError
from bict.reports.bench import BenchRecord, load_bench_record, save_bench_record
from bict.reports.bench_page import write_bench_report
from bict.reports.bench_table import Spread, baselines, lines, load_bench_records, marks, sweep
from bict.reports.record import Pairing


def row(name: str, value: float) -> Pairing:
    scores = {"map": value, "recall_at_1": value, "recall_at_10": value}
    bounds = {f"{key}_interval": (value - 0.01, value + 0.01) for key in scores}
    return Pairing(name=name, query="q", gallery="g", **scores, **bounds)


def record(
    method: str, served: float, *, seed: int = 0, scenario: str = "extended-class", **rows: float
) -> BenchRecord:
    values = {"old": 0.4, "backward": 0.42, "upgraded": served, "backfill": 0.6, "free_backfill": 0.6, **rows}
    rng = np.random.default_rng(seed)
    precision = np.clip(served + 0.01 * rng.standard_normal(200), 0, 1).tolist()
    return BenchRecord(
        command="bict experiment run", method=method, scenario=scenario, data="glyphs", seed=seed, quick=False,
        rows=[row(name, value) for name, value in values.items()],
        metrics={"recovered_share": (served - 0.4) / 0.2, "negative_flip_rate": 0.1, "update_gain": None},
        average_precision={"upgraded": precision}, seconds=1.0, versions={}, config={},
    )  # fmt: skip


def test_a_record_comes_back_as_it_was(tmp_path):
    one = record("influence", 0.5)
    assert load_bench_record(save_bench_record(one, tmp_path / "influence-0.json")) == one
    assert '"recall@1"' in (tmp_path / "influence-0.json").read_text()


def test_records_are_found_at_any_depth_and_other_files_are_left_alone(tmp_path):
    (tmp_path / "glyphs" / "x").mkdir(parents=True)
    save_bench_record(record("influence", 0.5), tmp_path / "glyphs" / "x" / "influence-0.json")
    (tmp_path / "timing.json").write_text("{}")
    assert [one.method for one in load_bench_records(tmp_path)] == ["influence"]
    with pytest.raises(RunError, match=r"no records in .*: make some with bict experiment run"):
        load_bench_records(tmp_path / "none")


def test_means_and_deviations_over_seeds_by_hand():
    (line,) = lines([record("influence", 0.5, seed=0), record("influence", 0.54, seed=1)])
    assert line.seeds == (0, 1)
    assert line.rows["upgraded"].mean == pytest.approx(0.52)
    assert line.rows["upgraded"].sd == pytest.approx(0.04 / 2**0.5)
    assert line.metrics["recovered_share"].mean == pytest.approx(0.6)
    assert "update_gain" not in line.metrics
    assert str(line.rows["old"]) == "0.400 ± 0.000"
    assert str(Spread.of([0.5])) == "0.500"
    assert Spread.of([None, math.nan]) is None


def test_the_best_served_comes_first_and_what_is_below_it_is_marked():
    some = [record("weak", 0.45), record("strong", 0.55), record("equal", 0.55)]
    found = lines(some)
    assert found[-1].method == "weak"
    assert marks(some, "strong") == {"equal": "", "weak": "-"}
    assert marks(some, "weak") == {"equal": "+", "strong": "+"}
    assert marks([record("a", 0.5, seed=0), record("b", 0.4, seed=1)], "a") == {}


def test_a_method_with_an_old_model_of_its_own_is_no_baseline_for_the_others():
    some = [record("own", 0.9, old=0.7), record("one", 0.5), record("two", 0.45)]
    assert baselines(lines(some)).method in ("one", "two")
    assert baselines(lines([*some, record("two", 0.5, seed=1)])).seeds == (0, 1)


def test_weights_in_names_are_a_sweep_in_their_order():
    own = {"method": {"new": {"backward_weight": 3}}}
    plain = [record("influence", 0.6, seed=seed).model_copy(update={"config": own}) for seed in (0, 1)]
    some = [record(f"influence@{weight}", 0.5) for weight in ("10", "0.3", "0")] + plain
    curves = sweep(some)
    assert list(curves) == ["influence"]
    assert [weight for weight, _ in curves["influence"]] == [0, 0.3, 3, 10]
    assert curves["influence"][2][1].seeds == (0,)  # the others were run on seed 0 alone
    assert sweep([record("influence", 0.5), record("influence@1", 0.5)]) == {}  # a record that does not say its weight


def test_the_page_shows_every_method_and_warns_of_quick_runs(tmp_path):
    some = [record("influence", 0.5), record("<b>", 0.4).model_copy(update={"quick": True})]
    text = write_bench_report(some, tmp_path / "report.html").read_text()
    assert "&lt;b&gt;" in text
    assert "<b>&lt;" not in text.split("<caption>")[0]
    assert "undertrained" in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert "<script" not in text
