"""Backward losses by name."""

from __future__ import annotations

import pytest
import torch

from bict.errors import UnknownName
from bict.losses import BACKWARD_LOSSES, OldView, backward_loss, contrastive, influence, regression


@pytest.fixture
def batch(unit_rows):
    view = OldView(unit_rows(6, 4, seed=1), unit_rows(3, 4, seed=2))
    return unit_rows(6, 4), torch.arange(6) % 3, view


def test_each_name_gets_what_it_needs_of_the_old_model(batch):
    new, labels, old = batch
    expected = {
        "influence": influence(new, labels, old.prototypes),
        "contrastive": contrastive(new, labels, old.vectors),
        "regression": regression(new, old.vectors),
    }
    assert {name: backward_loss(name)(*batch) for name in BACKWARD_LOSSES} == expected


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownName, match=r"^unknown backward loss 'influense': did you mean 'influence'\? \(") as info:
        backward_loss("influense")
    assert "\n" not in str(info.value)
