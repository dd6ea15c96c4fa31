"""Backward losses by name."""

from __future__ import annotations

import pytest

from bict.errors import UnknownName
from bict.losses import BACKWARD_LOSSES, build_backward_loss, find_backward_loss
from bict.losses.contrastive import contrastive
from bict.losses.influence import influence
from bict.losses.regression import regression


def test_each_name_gets_what_it_needs_of_the_old_model(view, make_batch):
    batch = make_batch()
    expected = {
        "influence": influence(batch.new, batch.labels, view.prototypes),
        "contrastive": contrastive(batch.new, batch.labels, batch.old),
        "regression": regression(batch.new, batch.old),
    }
    assert {name: build_backward_loss(name, view, 5)(batch) for name in expected} == expected


def test_a_loss_is_registered_under_its_own_name_and_knows_the_dimensions(view):
    for name in BACKWARD_LOSSES:
        loss = build_backward_loss(name, view, 7)
        assert (loss.name, loss.dim, loss.new_dim, loss.classes) == (name, 5, 7, 3)
        assert type(loss) is find_backward_loss(name)


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownName, match=r"^unknown backward loss 'influense': did you mean 'influence'\? \(") as info:
        find_backward_loss("influense")
    assert "\n" not in str(info.value)
