from __future__ import annotations

import numpy as np
import pytest
from tests.unit.assessment.made import world

from bict.assessment.assess import assess_pairs
from bict.errors import DataError, UnknownName

CLOSED = ("procrustes", "ridge", "bridge-procrustes")


def test_a_better_new_model_is_worth_an_upgrade():
    found = assess_pairs(world(classes=60), names=CLOSED)
    chosen = found.decision.chosen
    assert found.decision.verdict == "upgrade"
    assert chosen in ("procrustes", "ridge")
    lines = {one.name: one for one in found.candidates}
    assert list(lines) == ["old", *CLOSED, f"fused-{chosen}", "backfill"]
    best, old, full = lines[chosen], lines["old"], lines["backfill"]
    assert best.gain.value == pytest.approx(best.map.value - old.map.value)
    assert best.recovered_share.value == pytest.approx(best.gain.value / full.gain.value)
    assert best.positive_flip_rate.value - best.negative_flip_rate.value == pytest.approx(
        best.recall_at_1.value - old.recall_at_1.value
    )
    assert old.gain.interval == (0, 0)
    assert found.curve[-1].gain == best.gain
    assert 0.5 < found.preflight.agreement < 1
    assert found.counts["fit"] + found.counts["choose"] + found.counts["judge"] == found.counts["pairs"] == 480
    assert found.threshold is None


def test_exchanged_files_are_noticed():
    found = assess_pairs(world(classes=60, old_noise=0.1, new_noise=0.9), names=CLOSED)
    assert found.decision.verdict == "stay"
    assert "exchanged" in found.decision.reasons[0]


def test_without_labels_the_page_must_say_so():
    found = assess_pairs(world(classes=60, labelled=False), names=CLOSED)
    assert found.measure == "new model's neighbours"
    assert found.decision.verdict == "upgrade"
    assert {one.name: one for one in found.candidates}["backfill"].map.value == pytest.approx(1)


def test_a_threshold_is_carried_to_the_upgraded_vectors():
    found = assess_pairs(world(classes=60), names=("ridge",), threshold=0.5)
    threshold = found.threshold
    assert threshold.old == 0.5
    low, high = threshold.new.interval
    assert low <= threshold.new.value <= high
    assert threshold.true_positive_rate_new > threshold.true_positive_rate_old


def test_the_same_seed_gives_the_same_findings():
    first, second = (assess_pairs(world(), names=("ridge",), seed=3) for _ in range(2))
    plain = [[line.model_copy(update={"seconds": 0.0}) for line in found.candidates] for found in (first, second)]
    assert repr(plain[0]) == repr(plain[1])
    assert first.decision == second.decision


def test_one_label_is_none():
    pairs = world()
    pairs.labels[:] = "thing"
    assert assess_pairs(pairs, names=("ridge",)).measure == "new model's neighbours"


def test_refusals():
    with pytest.raises(DataError, match="20 to fit, choose and judge"):
        assess_pairs(world(classes=3, per_class=4), names=CLOSED)
    with pytest.raises(UnknownName, match="rigde"):
        assess_pairs(world(), names=("rigde",))
    assert np.isfinite(assess_pairs(world(classes=12, per_class=2), names=("ridge",)).preflight.agreement)
