"""What every backward loss promises."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from bict.losses import BACKWARD_LOSSES, NEEDS_OLD_VECTORS, OldView, backward_loss

CLASSES, IMAGES, DIM = 4, 12, 8
LABELS = torch.arange(IMAGES) % CLASSES


def unit(rows: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(rows, DIM, generator=generator), dim=1).to(dtype)


def old_view(dtype: torch.dtype = torch.float32) -> OldView:
    """Old vectors close to the prototypes of their classes."""
    prototypes = unit(CLASSES, seed=1)
    vectors = functional.normalize(prototypes[LABELS] + 0.3 * unit(IMAGES, seed=2), dim=1)
    return OldView(vectors.to(dtype), prototypes.to(dtype))


@pytest.fixture(params=sorted(BACKWARD_LOSSES))
def loss(request):
    return backward_loss(request.param)


def gradient(loss, new: torch.Tensor, labels: torch.Tensor, old: OldView) -> torch.Tensor:
    new = new.clone().requires_grad_()
    loss(new, labels, old).backward()
    return new.grad


def test_is_one_finite_number_of_at_least_zero(loss):
    value = loss(unit(IMAGES, seed=3), LABELS, old_view())
    assert value.shape == ()
    assert torch.isfinite(value)
    assert value >= 0


def test_pulls_the_new_vectors_and_leaves_the_old_model_alone(loss):
    old = old_view()
    assert gradient(loss, unit(IMAGES, seed=3), LABELS, old).abs().sum() > 0
    assert old.vectors.grad is None
    assert old.prototypes.grad is None
    assert not loss(unit(IMAGES, seed=3), LABELS, old).requires_grad


def test_its_slope_is_that_of_its_value(loss):
    old = OldView(*(side.double() for side in (old_view().vectors, old_view().prototypes)))
    new = unit(IMAGES, seed=3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda vectors: loss(vectors, LABELS, old), (new,))


def test_is_lower_where_the_new_vectors_are_the_old_ones(loss):
    old = old_view()
    at_home = loss(old.vectors, LABELS, old)
    assert all(at_home < loss(unit(IMAGES, seed), LABELS, old) for seed in range(3, 8))


def test_a_step_down_its_slope_lowers_it(loss):
    old, new = old_view(), unit(IMAGES, seed=3)
    moved = functional.normalize(new - 0.01 * gradient(loss, new, LABELS, old), dim=1)
    assert loss(moved, LABELS, old) < loss(new, LABELS, old)


def test_the_order_of_the_batch_does_not_count(loss):
    old, new = old_view(), unit(IMAGES, seed=3)
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(4))
    shuffled = OldView(old.vectors[order], old.prototypes)
    torch.testing.assert_close(loss(new[order], LABELS[order], shuffled), loss(new, LABELS, old))


def test_a_wrong_old_vector_or_prototype_costs(loss):
    """No loss ignores the side of the old model that it is there to match."""
    old = old_view()
    wrong = OldView(old.vectors.roll(1, dims=0), old.prototypes.roll(1, dims=0))
    assert loss(old.vectors, LABELS, wrong) > loss(old.vectors, LABELS, old)


@pytest.mark.parametrize("sign", [1, -1], ids=["identical", "opposite"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_gradients_are_finite_at_the_extremes(loss, sign, dtype):
    old = old_view(dtype)
    for labels in (LABELS, torch.zeros_like(LABELS)):
        assert torch.isfinite(gradient(loss, sign * old.vectors, labels, old)).all()


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, IMAGES, CLASSES)], ids=["batch of one", "one class"])
def test_a_batch_without_other_classes_is_no_special_case(loss, rows):
    old = old_view()
    part = OldView(old.vectors[rows], old.prototypes)
    assert torch.isfinite(loss(unit(IMAGES, seed=3)[rows], LABELS[rows], part))
    assert torch.isfinite(gradient(loss, unit(IMAGES, seed=3)[rows], LABELS[rows], part)).all()


@pytest.mark.parametrize("name", sorted(set(BACKWARD_LOSSES) - NEEDS_OLD_VECTORS))
def test_losses_said_not_to_need_old_vectors_do_without(name):
    old = old_view()
    without = OldView(torch.empty(0), old.prototypes)
    new = unit(IMAGES, seed=3)
    assert torch.equal(backward_loss(name)(new, LABELS, without), backward_loss(name)(new, LABELS, old))
