"""Adversary and elastic boundary against loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from bict.losses import OldView, fit_dim
from bict.losses.advbct import AdvBCT, radii, reverse


def largest_without_outliers(view: OldView, number: int) -> float:
    own = [math.dist(row, view.prototypes[number]) for row in view.vectors[view.labels == number].tolist()]
    first, third = np.percentile(own, [25, 75])
    return max(distance for distance in own if distance <= third + 1.5 * (third - first))


def test_a_radius_leaves_a_single_outlier_out(view):
    vectors = view.vectors.clone()
    vectors[0] = -view.prototypes[0]  # a picture of class 0, on the other side
    spoilt = replace(view, vectors=vectors)
    assert math.dist(vectors[0], view.prototypes[0]) > radii(spoilt)[0] + 0.3
    assert radii(spoilt).tolist() == pytest.approx([largest_without_outliers(spoilt, number) for number in range(6)])


def test_a_class_of_up_to_three_pictures_has_no_outliers(unit_rows):
    labels = torch.tensor([0, 1, 1, 2, 2, 2])
    few = OldView(unit_rows(6, 4), labels, unit_rows(3, 4, seed=1), classes=3)
    distances = (few.vectors - few.prototypes[labels]).norm(dim=1)
    torch.testing.assert_close(radii(few), torch.stack([distances[labels == number].max() for number in range(3)]))


def test_a_reversed_vector_is_the_same_and_its_gradient_the_opposite(unit_rows):
    vectors = unit_rows(3, 4).requires_grad_()
    found = reverse(vectors, 0.25)
    torch.testing.assert_close(found, vectors)
    found.sum().backward()
    torch.testing.assert_close(vectors.grad, torch.full_like(vectors, -0.25))


def make_loss(view: OldView, new_dim: int = 5) -> AdvBCT:
    torch.manual_seed(0)
    loss = AdvBCT(view, new_dim).double()
    torch.nn.init.normal_(loss.shift)
    return loss


@pytest.mark.parametrize("new_dim", [5, 7, 3])
def test_equals_a_loop_over_pictures(view, make_batch, new_dim):
    loss, batch = make_loss(view, new_dim), make_batch(new_dim)
    batch = replace(batch, new=torch.cat([fit_dim(view.prototypes[batch.labels[:4]], new_dim), batch.new[4:]]))
    adversary, outside = [], []
    for new, old, label in zip(batch.new, batch.old, batch.labels.tolist(), strict=True):
        seen = functional.pad(new[:5], (0, 5 - len(new[:5]))) / new[:5].norm()
        for side, of in ((seen, 0), (old, 1)):
            adversary.append(-torch.log_softmax(loss.discriminator(math.sqrt(5) * side), dim=0)[of])
        radius = largest_without_outliers(view, label)
        radius += (1 - radius) / (1 + math.exp(-loss.shift.tolist()[label]))
        outside.append(max(0.0, math.dist(seen, view.prototypes[label]) - radius))
    beyond = [distance for distance in outside if distance > 0]
    assert 0 < len(beyond) < 8
    expected = 0.75 * torch.stack(adversary).sum().item() / 8 + sum(beyond) / len(beyond)
    assert loss(batch).item() == pytest.approx(expected)


def test_costs_nothing_within_the_boundaries(view, make_batch):
    batch = replace(make_batch(), progress=1.0)
    assert make_loss(view)(replace(batch, new=view.prototypes[batch.labels])).item() == 0


def test_the_discriminator_learns_and_the_new_vectors_unlearn(view, make_batch):
    """One step down the slope: the discriminator's makes its loss smaller, the new vectors' makes it larger."""
    loss, batch = make_loss(view), make_batch()
    new = batch.new.clone().requires_grad_()
    before = loss.adversarial(new, batch.old, 0.25)
    before.backward()
    with torch.no_grad():
        assert loss.adversarial(new - 0.01 * new.grad, batch.old, 0.25) > before
        for parameter in loss.discriminator.parameters():
            parameter.sub_(0.01 * parameter.grad)
        assert loss.adversarial(new, batch.old, 0.25) < before


@pytest.mark.parametrize(("progress", "strength"), [(0.0, 0.0), (0.1, 0.46212), (0.5, 0.98661), (1.0, 0.99991)])
def test_the_reversal_grows_over_the_training(view, make_batch, progress, strength):
    loss, batch = make_loss(view), make_batch()
    new = batch.new.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss.adversarial(new, batch.old, progress), new)
    sides = torch.cat([new, batch.old]) * math.sqrt(5)
    plain = 2 * functional.cross_entropy(loss.discriminator(sides), torch.arange(16) // 8)
    wanted = -strength / math.sqrt(5) * torch.autograd.grad(plain, new)[0]
    torch.testing.assert_close(slope, wanted, rtol=1e-4, atol=1e-9)


def test_the_adversary_is_gone_at_the_end_of_the_training(view, make_batch):
    loss, batch = make_loss(view), replace(make_batch(), progress=1.0)
    alone = loss(batch)
    torch.nn.init.normal_(loss.discriminator[0].weight)
    assert torch.equal(loss(batch), alone)


def test_a_shift_moves_the_radius_between_its_own_and_one(view, make_batch):
    loss, batch = make_loss(view), replace(make_batch(), progress=1.0)
    distances = (batch.new - view.prototypes[batch.labels]).norm(dim=1)
    for shift, radius in ((-50.0, radii(view)), (50.0, torch.ones(6, dtype=torch.float64))):
        torch.nn.init.constant_(loss.shift, shift)
        outside = distances - radius[batch.labels]
        torch.testing.assert_close(loss(batch), outside[outside > 0].mean())
