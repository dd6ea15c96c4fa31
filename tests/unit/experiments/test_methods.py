"""Methods by name, with weights and in groups."""

from __future__ import annotations

import pytest

from bict.errors import SettingsError, UnknownName
from bict.experiments.methods import GROUPS, METHODS, expand, find_method
from bict.losses import BACKWARD_LOSSES, CLASSIFICATION_LOSSES
from bict.training import TrainSettings
from bict.transforms import BRIDGES, RUNGS


@pytest.mark.parametrize("name", METHODS)
def test_every_method_names_settings_and_maps_that_exist(name):
    method = METHODS[name]
    for over in (method.new, method.old, method.free):
        settings = TrainSettings.model_validate({**TrainSettings().model_dump(), **over})
        assert settings.backward_loss in BACKWARD_LOSSES
        assert settings.classification in CLASSIFICATION_LOSSES
    if method.family == "bridge":
        assert method.rung in {*BRIDGES, "slerp"}
    elif method.rung:
        assert method.rung_settings.items() <= {**RUNGS[method.rung]().settings(), **method.rung_settings}.items()


def test_every_loss_and_every_rung_but_those_of_bridges_is_in_the_bench():
    losses = {method.new["backward_loss"] for method in METHODS.values() if method.family == "backward"}
    rungs = {method.rung for method in METHODS.values() if method.family == "transform"}
    assert losses == set(BACKWARD_LOSSES)
    assert rungs == set(RUNGS) - {"drift-mlp", "head"}


def test_a_weight_in_the_name_replaces_the_methods_own():
    assert find_method("influence@0.3").weight == 0.3
    assert find_method("influence@0").new["backward_weight"] == 0
    assert find_method("influence").weight == METHODS["influence"].new["backward_weight"]


@pytest.mark.parametrize("name", ["influence@", "influence@much", "influence@-1", "ridge@1"])
def test_a_weight_that_is_none_is_refused(name):
    with pytest.raises(SettingsError, match="expected NAME@WEIGHT"):
        find_method(name)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="influence"):
        find_method("influenc")
    with pytest.raises(UnknownName, match="method or group 'mainn'"):
        expand(["mainn"])


def test_groups_are_expanded_in_order_and_once():
    assert expand(["ridge", "bridge", "ridge"]) == ["ridge", *expand(["bridge"])]
    assert set(expand(["main", "ablation"])) == set(METHODS)
    assert sorted(expand(list(GROUPS[2:]))) == sorted(expand(["main"]))
    assert expand(["influence@1", "influence@3"]) == ["influence@1", "influence@3"]


def test_what_decides_a_result_is_dumped_and_its_description_is_not():
    assert METHODS["influence"].dump()["new"]["backward_loss"] == "influence"
    assert not {"line", "group"} & set(METHODS["psi-500"].dump())
    assert METHODS["psi-500"].dump()["images"] == 500
