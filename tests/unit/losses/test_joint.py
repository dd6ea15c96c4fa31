"""A forward transform trained together with the new model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from bict.losses.influence import influence
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
    rows = [row / row.norm() for row in loss.shared]
    for new, old, label in zip(batch.new, batch.old, batch.labels.tolist(), strict=True):
        hidden = functional.gelu(psi.inner.weight @ old + psi.inner.bias)
        mapped = psi.straight.weight @ old + psi.straight.bias + psi.outer.weight @ hidden
        for vector in (new, mapped / mapped.norm()):
            logits = torch.stack([12 * vector @ row for row in rows])
            terms.append(torch.logsumexp(logits, dim=0) - logits[label])
    torch.testing.assert_close(loss(batch), 2 * torch.stack(terms).mean())


def test_starts_as_influence_on_both_sides(view, make_batch):
    loss, batch = Joint(view, 5).double(), make_batch()
    both = [influence(vectors, batch.labels, view.prototypes.double()) for vectors in (batch.new, batch.old)]
    torch.testing.assert_close(loss(batch), sum(both))


def test_new_vectors_psi_and_the_classifier_all_learn(view, make_batch):
    """A step down the slope of each alone lowers the loss."""
    torch.manual_seed(0)
    loss, batch = Joint(view, 7).double(), make_batch(7)
    nn.init.normal_(loss.psi.outer.weight, std=0.1)
    new = batch.new.clone().requires_grad_()
    before = loss(replace(batch, new=new))
    before.backward()
    with torch.no_grad():
        moved = functional.normalize(new - 0.01 * new.grad, dim=1)
        assert loss(replace(batch, new=moved)) < before
        for parameter in loss.parameters():
            assert parameter.grad.abs().sum() > 0
            parameter.sub_(0.01 * parameter.grad)
            assert loss(batch) < before
            parameter.add_(0.01 * parameter.grad)
