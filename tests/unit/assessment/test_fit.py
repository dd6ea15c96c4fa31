from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.assessment.made import with_split, world

from bict.assessment.assess import assess_pairs
from bict.assessment.candidates import Rows
from bict.assessment.fit import fit_best
from bict.assessment.trial import divide
from bict.errors import TransformError, UnknownName
from bict.transforms import QueryBridge, Transform


def test_fits_what_the_assessment_chose_on_all_pairs():
    pairs, told = world(classes=60), []
    fit = fit_best(pairs, None, progress=lambda done, total: told.append((done, total)))
    psi = fit.way
    assert isinstance(psi, Transform)
    found = assess_pairs(pairs)
    best = max((one for one in found.candidates if one.kind == "upgrade"), key=lambda one: one.choice)
    assert psi.rung.name == psi.scores.chosen == best.name
    assert psi.scores.pairs == 480
    assert {rung.name: rung.map for rung in psi.scores.rungs}[best.name] == pytest.approx(best.choice)
    assert [done / total for done, total in told] == sorted(done / total for done, total in told)
    assert told[-1][0] == told[-1][1]


def test_rows_set_apart_to_judge_on_are_never_fitted():
    pairs = world(classes=60)
    split = np.where(np.arange(480) < 300, "", np.where(np.arange(480) % 2, "query", "gallery"))
    rest = replace(pairs, **{name: getattr(pairs, name)[:300] for name in ("ids", "old", "new", "labels")})
    apart, alone = fit_best(with_split(pairs, split), "ridge").way, fit_best(rest, "ridge").way
    assert apart.digest == alone.digest
    assert apart.scores.pairs == 300


def test_a_named_way_is_fitted_without_choosing(tmp_path):
    fit = fit_best(world(), "bridge-procrustes")
    bridge = fit.way
    assert isinstance(bridge, QueryBridge)
    assert fit.errors is None
    bridge.save(tmp_path / "bridge")
    assert QueryBridge.load(tmp_path / "bridge").digest == bridge.digest


def test_the_errors_of_a_transform_are_predicted_from_old_vectors_alone():
    pairs = world(classes=60)
    fit = fit_best(pairs, "ridge")
    assert fit.errors.pairs_ == len(divide(pairs, None, 0).choose)
    predicted = fit.errors.predict(Rows.of(pairs, np.arange(50)).old)
    assert predicted.shape == (50,)
    assert (predicted > 0).all()


def test_without_labels_the_card_says_what_was_measured(tmp_path):
    psi = fit_best(world(labelled=False), None).way
    psi.save(tmp_path / "psi")
    scores = Transform.load(tmp_path / "psi").scores
    assert scores.measure == "neighbour_map"
    assert all(rung.map is None or np.isfinite(rung.map) for rung in scores.rungs)


def test_refusals():
    with pytest.raises(UnknownName):
        fit_best(world(), "nothing")
    with pytest.raises(TransformError):
        fit_best(world(labelled=False), "bridge-head")
