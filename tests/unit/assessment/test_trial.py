from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.assessment.made import with_split, world

from bict.assessment.candidates import BACKFILL, OLD, candidates, way
from bict.assessment.relevance import RelevancePairs
from bict.assessment.trial import CURVE, Trial, divide, oddities
from bict.errors import DataError
from bict.progress import silent_steps
from bict.reports.assessment import Estimate


def parts(found):
    return found.fit, found.choose, found.judge


def test_no_row_and_no_class_lies_in_two_parts():
    pairs = world()
    fit, choose, judge = parts(divide(pairs, None, 0))
    assert sorted([*fit, *choose, *judge]) == list(range(len(pairs.ids)))
    labels = [set(pairs.labels[rows]) for rows in (fit, choose, judge)]
    assert not labels[0] & labels[1] | labels[0] & labels[2] | labels[1] & labels[2]


def test_rows_set_apart_as_queries_and_gallery_are_judged_on_and_all_others_fitted():
    pairs = world()
    split = np.where(np.arange(240) < 160, "train", np.where(np.arange(240) % 2, "query", "gallery"))
    fit, choose, judge = parts(divide(with_split(pairs, split), None, 0))
    assert judge.tolist() == list(range(160, 240))
    assert sorted([*fit, *choose]) == list(range(160))
    assert not set(pairs.labels[fit]) & set(pairs.labels[choose])


def test_where_everything_is_set_apart_the_parts_are_drawn():
    pairs = world()
    split = np.where(np.arange(240) % 4 == 0, "query", "gallery")
    drawn, plain = divide(with_split(pairs, split), None, 0), divide(pairs, None, 0)
    assert drawn.judge.tolist() == plain.judge.tolist()
    trial = Trial.of(with_split(pairs, split), None, seed=0, steps=silent_steps)
    assert set(trial.judging.sides.query.old.ids % 4) == {0}


def test_relevance_pairs_are_judged_on_among_others():
    pairs = replace(world(), labels=None)
    named = RelevancePairs(np.array([1, 2]), np.array([3, 4]))
    fit, choose, judge = parts(divide(pairs, named, 0))
    assert {1, 2, 3, 4} < set(judge)
    assert len(judge) > 40
    assert sorted([*fit, *choose, *judge]) == list(range(240))


def test_a_split_that_names_one_side_alone_is_refused():
    pairs = world()
    with pytest.raises(DataError, match="names no gallery"):
        divide(with_split(pairs, np.where(np.arange(240) < 50, "query", "")), None, 0)
    with pytest.raises(DataError, match="names no query"):
        divide(with_split(pairs, np.where(np.arange(240) < 50, "gallery", "")), None, 0)


def test_what_makes_a_verdict_less_than_it_seems_is_said():
    pairs = world()
    assert oddities(pairs, None, divide(pairs, None, 0)) == []
    other = with_split(pairs, np.where(np.arange(240) < 50, "train", "test"))
    assert "names none" in oddities(other, None, divide(other, None, 0))[0]
    everything = with_split(pairs, np.where(np.arange(240) < 50, "query", "gallery"))
    assert "fewer than 20" in oddities(everything, None, divide(everything, None, 0))[0]
    few = world(classes=6, per_class=20)
    assert "6 of 6 judged classes were fitted" in oddities(few, None, divide(few, None, 0))[0]
    named = RelevancePairs(np.array([1]), np.array([2]), left_out=3)
    assert "3 relevance pairs" in oddities(pairs, named, divide(pairs, named, 0))[0]


@pytest.fixture(scope="module")
def trial():
    return Trial.of(world(), None, seed=0, steps=silent_steps)


def test_what_is_chosen_is_fitted_again_on_all_but_the_judge_part(trial):
    choice = trial.choose(candidates(("identity", "procrustes", "ridge", "bridge-procrustes"), labelled=True))
    assert set(choice.scores) == {way("procrustes"), way("ridge"), way("bridge-procrustes")}
    choice.scores[way("procrustes")] = Estimate(value=0.0, interval=(0.0, 0.0))
    assert choice.best("upgrade") == way("ridge")
    assert choice.best("fuse") is None
    judged = trial.judge(choice)
    names = ["old", "backfill", "procrustes", "ridge", "bridge-procrustes", "fused-ridge"]
    assert [one.name for one in judged.scores] == names
    assert judged.fitted[way("procrustes")] is choice.fitted[way("procrustes")]
    assert judged.fitted[way("ridge")].digest != choice.fitted[way("ridge")].digest
    means = {one.name: np.nanmean(scores["map"]) for one, scores in judged.scores.items()}
    assert means["old"] < means["ridge"] < means["backfill"]
    assert judged.gaps[OLD] == 0
    assert 0 < judged.gaps[BACKFILL] <= 1
    curve = trial.curve(way("ridge"), judged)
    assert [point.pairs for point in curve] == [*(round(share * len(trial._kept())) for share in CURVE), 176]
    assert curve[-1].gain.value == pytest.approx(means["ridge"] - means["old"])
    assert trial.timing["fit ridge"] > 0


def test_what_cannot_be_fitted_is_noted(trial):
    choice = trial.choose(candidates(("identity", "ridge"), labelled=True))  # the spaces differ in dimension
    assert list(choice.scores) == [way("ridge")]
    assert choice.notes[way("identity")].startswith("skipped: ")
