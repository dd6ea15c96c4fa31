"""A learned change of basis: its loss against loops, and what is served after training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from bict.losses.bt2 import BT2
from bict.losses.influence import influence


@pytest.fixture
def make_loss(view):
    def make(new_dim: int = 7) -> BT2:
        torch.manual_seed(0)
        loss = BT2(view, new_dim).double()
        nn.init.normal_(loss.skew)
        return loss

    return make


@pytest.mark.parametrize("new_dim", [3, 5, 7, 9])
def test_equals_a_loop_over_pictures(make_loss, make_batch, view, new_dim):
    loss, batch = make_loss(new_dim), make_batch(new_dim)
    follow, classes, own = [], [], []
    for i, new in enumerate(batch.new):
        turned = loss.basis() @ new
        first = functional.pad(turned[:5], (0, 5 - len(turned[:5])))
        first = first / first.norm()
        classes.append(influence(first[None], batch.labels[i : i + 1], view.prototypes))
        own.append(1 - first @ batch.old[i])
        if batch.labels[i] < 3:
            target = view.target[batch.rows[i]]
            whole = functional.pad(new[:7], (0, 7 - len(new[:7])))
            follow.append(1 - whole @ target / whole.norm())
    terms = [torch.stack(each).mean() for each in (follow, classes, own)]
    torch.testing.assert_close(loss(batch), (terms[0] + 10 * terms[1] + 5 * terms[2]) / 16)


def test_the_basis_is_orthonormal_and_starts_as_the_identity(view, make_loss):
    torch.testing.assert_close(BT2(view, 7).basis(), torch.eye(7))
    basis = make_loss().basis()
    assert not torch.allclose(basis, torch.eye(7, dtype=torch.float64), atol=0.1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(7, dtype=torch.float64))
    assert torch.linalg.det(basis) > 0


@pytest.mark.parametrize("new_dim", [7, 160])
def test_a_step_of_adam_turns_little(view, new_dim):
    loss = BT2(replace(view, target=torch.zeros(1, 1)), new_dim)
    signs = torch.randn(new_dim, new_dim, generator=torch.Generator().manual_seed(0)).tril(-1).sign()
    with torch.no_grad():
        loss.skew += 0.012 * (signs - signs.T)
    turned = loss.served(torch.eye(new_dim))
    assert turned.diagonal().acos().max() < 0.05


def test_folding_is_rotating(make_loss):
    """The encoder's unit vectors come out turned, bias and all."""
    loss, neck = make_loss(), nn.Linear(11, 7).double()
    pooled = torch.randn(4, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    vectors = functional.normalize(neck(pooled), dim=1)
    expected = torch.stack([loss.basis() @ vector for vector in vectors])
    loss.fold(neck)
    torch.testing.assert_close(functional.normalize(neck(pooled), dim=1), expected)
    torch.testing.assert_close(loss.served(vectors), expected)
    assert neck.weight.requires_grad


def test_classes_are_told_apart_as_before_where_the_classifier_is_turned_too(make_loss, make_batch):
    loss, batch = make_loss(), make_batch(7)
    torch.testing.assert_close(loss.served(batch.new) @ loss.served(batch.classifier).T, batch.new @ batch.classifier.T)


def test_learning_the_basis_alone_finds_an_old_space_that_was_turned_away(view, make_batch, unit_rows):
    """New vectors that are turned old ones: the basis turns them back."""
    away = torch.linalg.qr(unit_rows(5, 5, seed=20)).Q
    away[0] *= torch.linalg.det(away)  # a rotation, no mirror
    batch = replace(make_batch(), old=view.prototypes[make_batch().labels])
    batch = replace(batch, new=batch.old @ away.T)
    assert (batch.new * batch.old).sum(dim=1).mean() < 0.5
    loss = BT2(replace(view, target=batch.new.new_ones(12, 5)), 5).double()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
    assert (loss.seen(batch) * batch.old).sum(dim=1).min() > 0.9
