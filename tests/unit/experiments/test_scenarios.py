"""Scenarios as plans for a data set."""

from __future__ import annotations

import dataclasses

import pytest

from bict.data import ImageSet, draw_splits
from bict.errors import UnknownName
from bict.experiments.scenarios import SCENARIOS, plan_scenario


@pytest.mark.parametrize("kind", ["characters", "photos"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_a_plan_for_every_kind_of_data(name, kind, some_images: ImageSet):
    images = dataclasses.replace(some_images, kind=kind)
    plan = plan_scenario(name, images, seed=3)
    assert plan.split.seed == plan.old.seed == plan.new.seed == 3
    assert plan.dump()["split"]["seed"] == 3
    assert plan_scenario(name, images, seed=3, quick=True).new.epochs < plan.new.epochs


def test_scenarios_differ_in_what_they_say_they_differ_in(some_images: ImageSet):
    plans = {name: plan_scenario(name, some_images) for name in SCENARIOS}
    assert plans["same-backbone"].old.backbone == plans["same-backbone"].new.backbone
    assert plans["extended-class"].old.backbone != plans["extended-class"].new.backbone
    assert plans["other-dimension"].new.dim != plans["other-dimension"].old.dim
    assert plans["other-loss"].old.classification != plans["other-loss"].new.classification
    for name, share in (("enhanced-backbone", 1.0), ("extended-data", 0.3)):
        splits = draw_splits(some_images, plans[name].split)
        assert len(splits.old_train) == pytest.approx(share * len(splits.train), rel=0.1)
    disjoint = draw_splits(some_images, plans["open-class"].split)
    assert not {*some_images.labels[disjoint.old_train]} & {*some_images.labels[disjoint.train]}


def test_an_unknown_scenario_is_refused(some_images: ImageSet):
    with pytest.raises(UnknownName, match="extended-class"):
        plan_scenario("extended-clas", some_images)
