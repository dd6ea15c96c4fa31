"""Settings and their limits."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bict.errors import SettingsError, UnknownName
from bict.losses import BACKWARD_LOSSES
from bict.training import TrainSettings, train_settings


def test_values_are_kept_and_text_is_read():
    assert train_settings() == TrainSettings()
    assert train_settings(epochs="3", backward_weight=0).model_dump()["epochs"] == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("batch_size", 1),
        ("learning_rate", -1),
        ("margin", 1.6),
        ("dim", -1),
        ("seed", -1),
        ("scale", "x"),
    ],
)
def test_a_value_out_of_its_limits_is_named_in_one_line(name, value):
    with pytest.raises(SettingsError, match=f"^{name} = {value!r}: .+") as info:
        train_settings(**{name: value})
    assert "\n" not in str(info.value)


def test_an_unknown_setting_is_refused():
    with pytest.raises(SettingsError, match="epoch"):
        train_settings(epoch=3)


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        TrainSettings().epochs = 3


def test_a_weight_is_the_loss_s_own_where_none_is_given():
    assert train_settings().weight == train_settings(backward_loss="joint").weight == BACKWARD_LOSSES["joint"].weight
    assert train_settings(backward_loss="regression").model_dump()["backward_weight"] == 1
    assert train_settings(backward_loss="regression", backward_weight=None).weight == 1
    assert train_settings(backward_loss="regression", backward_weight=0).weight == 0
    with pytest.raises(UnknownName, match="influence"):
        train_settings(backward_loss="inflence")
