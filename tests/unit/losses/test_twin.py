"""Two heads: the sum of the losses of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bict.losses.influence import influence
from bict.losses.regression import regression
from bict.losses.twin import Twin


@pytest.mark.parametrize("new_dim", [5, 7, 3])
def test_is_the_influence_of_the_first_head_and_half_of_both_losses_of_the_second(view, make_batch, new_dim):
    loss, batch = Twin(view, new_dim), make_batch(new_dim)
    second = influence(batch.twin, batch.labels, view.prototypes) + regression(batch.twin, batch.old)
    expected = influence(loss.seen(batch), batch.labels, view.prototypes) + second / 2
    torch.testing.assert_close(loss(batch), expected)


def test_both_heads_are_pulled(view, make_batch):
    batch = make_batch()
    new, twin = batch.new.clone().requires_grad_(), batch.twin.clone().requires_grad_()
    Twin(view, 5)(replace(batch, new=new, twin=twin)).backward()
    assert new.grad.abs().sum() > 0
    assert twin.grad.abs().sum() > 0


def test_a_batch_without_a_second_head_is_an_error(view, make_batch):
    with pytest.raises(ValueError, match="second head"):
        Twin(view, 5)(replace(make_batch(), twin=None))
