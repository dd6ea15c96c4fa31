"""A forward transform trained together with the new model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from bict.losses.joint import Joint, Psi


@pytest.mark.parametrize(("old_dim", "new_dim"), [(5, 5), (5, 7), (5, 3)])
def test_psi_starts_as_the_identity_cut_or_padded(unit_rows, old_dim, new_dim):
    old = unit_rows(6, old_dim).float()
    expected = functional.pad(old[:, :new_dim], (0, max(0, new_dim - old_dim)))
    torch.testing.assert_close(Psi(old_dim, new_dim)(old), functional.normalize(expected, dim=1))


@pytest.mark.parametrize("new_dim", [5, 7, 3])
def test_equals_a_loop_over_pictures(view, make_batch, new_dim):
    torch.manual_seed(0)
    loss, batch = Joint(view, new_dim).double(), make_batch(new_dim)
    for parameter in loss.parameters():
        nn.init.normal_(parameter)
    psi, terms = loss.psi, []
    for new, old in zip(batch.new, batch.old, strict=True):
        hidden = functional.gelu(psi.inner.weight @ old + psi.inner.bias)
        mapped = psi.straight.weight @ old + psi.straight.bias + psi.outer.weight @ hidden
        terms.append(1 - new @ mapped / mapped.norm())
    torch.testing.assert_close(loss(batch), torch.stack(terms).mean())


def test_both_sides_are_pulled_towards_each_other(view, make_batch):
    """A step of either alone brings them closer."""
    loss, batch = Joint(view, 7).double(), make_batch(7)
    new = batch.new.clone().requires_grad_()
    before = loss(replace(batch, new=new))
    before.backward()
    with torch.no_grad():
        moved = functional.normalize(new - 0.01 * new.grad, dim=1)
        assert loss(replace(batch, new=moved)) < before
        for parameter in loss.parameters():
            parameter.sub_(0.01 * parameter.grad)
        assert loss(batch) < before


def test_psi_alone_learns_a_space_that_was_turned(view, make_batch, unit_rows):
    """Relations between the spaces that a map can follow cost the new model nothing."""
    away = torch.linalg.qr(unit_rows(5, 5, seed=20)).Q
    torch.manual_seed(0)
    loss, batch = Joint(view, 5).double(), make_batch()
    batch = replace(batch, new=batch.old @ away.T)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
    assert loss(batch) < 0.01
