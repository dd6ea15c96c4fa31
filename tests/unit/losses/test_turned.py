"""The control that knows nothing of the old model."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional

from bict.losses.influence import influence
from bict.losses.turned import Turned


def test_it_is_classification_by_rows_of_its_own(view, make_batch):
    torch.manual_seed(0)
    loss, batch = Turned(view, 7).double(), make_batch(7)
    assert loss.own.shape == (len(view.prototypes), 7)
    torch.testing.assert_close(
        loss(batch), influence(batch.new, batch.labels, functional.normalize(loss.own.detach(), dim=1))
    )


def test_nothing_of_the_old_model_enters(view, make_batch):
    other = replace(view, prototypes=view.prototypes.roll(1, dims=0), vectors=view.vectors.roll(1, dims=0))
    values = []
    for each in (view, other):
        torch.manual_seed(0)
        values.append(Turned(each, 5).double()(make_batch()))
    assert torch.equal(*values)
