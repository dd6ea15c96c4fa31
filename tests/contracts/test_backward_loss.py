"""What every backward loss promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from bict.losses import BACKWARD_LOSSES, BackwardLoss, Batch, OldView, build_backward_loss, fit_dim

CLASSES, IMAGES, DIM, TARGET_DIM = 4, 12, 8, 10
DIMS = [DIM, DIM + 4, DIM - 3]
LABELS = torch.arange(IMAGES) % CLASSES
TURNED = torch.tensor([1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0])
THROUGH_THE_CLASSIFIER = {"mixbct"}
TO_NEW_VECTORS = sorted(set(BACKWARD_LOSSES) - THROUGH_THE_CLASSIFIER)
ALIGNING = sorted(name for name, loss in BACKWARD_LOSSES.items() if loss.aligns)


def unit(rows: int, dim: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(rows, dim, generator=generator), dim=1).to(dtype)


def make_view() -> OldView:
    """Old vectors close to the prototypes of their classes: four, and the same four turned."""
    prototypes, labels = unit(2 * CLASSES, DIM, seed=1), torch.cat([LABELS, LABELS + CLASSES])
    vectors = functional.normalize(prototypes[labels] + 0.3 * unit(2 * IMAGES, DIM, seed=2), dim=1)
    return OldView(vectors, labels, prototypes, CLASSES, target=unit(IMAGES, TARGET_DIM, seed=5))


def make_batch(view: OldView, new: torch.Tensor, dtype: torch.dtype = torch.float32) -> Batch:
    """Every image once, four of them turned, at the end of training, where no adversary is left."""
    rows = torch.arange(IMAGES)
    old = functional.normalize(view.vectors[rows + IMAGES * TURNED] + 0.1 * unit(IMAGES, DIM, seed=6), dim=1)
    classifier = fit_dim(view.prototypes[:CLASSES], new.shape[1]).to(dtype).requires_grad_()

    def classification(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        assert len(labels) > 0
        assert (labels < CLASSES).all(), "a classifier has no row for a turned class"
        return functional.cross_entropy(12 * vectors @ classifier.T, labels)

    labels = LABELS + CLASSES * TURNED
    return Batch(new.to(dtype), labels, old.to(dtype), rows, classification, classifier, 1.0)


def at_home(view: OldView, new_dim: int = DIM) -> Batch:
    """A batch whose new vectors are the old ones."""
    batch = make_batch(view, unit(IMAGES, new_dim, seed=3))
    return replace(batch, new=fit_dim(batch.old, new_dim))


def build(name: str, view: OldView, new_dim: int = DIM) -> BackwardLoss:
    torch.manual_seed(0)
    return build_backward_loss(name, view, new_dim)


def unsettle(loss: BackwardLoss) -> BackwardLoss:
    """The same loss with other weights of its own, as in the middle of training."""
    for parameter in loss.parameters():
        nn.init.normal_(parameter, std=0.3)
    return loss


def part(batch: Batch, rows: torch.Tensor) -> Batch:
    sides = {side: getattr(batch, side)[rows] for side in ("new", "labels", "old", "rows")}
    return replace(batch, **sides)


def gradient(loss: BackwardLoss, batch: Batch) -> torch.Tensor:
    """Of the loss at the new vectors; at the classifier for a loss that acts through it."""
    new = batch.new.clone().requires_grad_()
    value = loss(replace(batch, new=new))
    found = torch.autograd.grad(value, (new, batch.classifier), allow_unused=True) if value.requires_grad else ()
    return next((each for each in found if each is not None), torch.zeros(1))


@pytest.fixture(params=sorted(BACKWARD_LOSSES))
def name(request) -> str:
    return request.param


@pytest.fixture
def view() -> OldView:
    return make_view()


@pytest.mark.parametrize("new_dim", DIMS)
def test_is_one_finite_number_of_at_least_zero(name, view, new_dim):
    value = build(name, view, new_dim)(make_batch(view, unit(IMAGES, new_dim, seed=3)))
    assert value.shape == ()
    assert torch.isfinite(value)
    assert value >= 0


@pytest.mark.parametrize("new_dim", DIMS)
def test_pulls_the_new_vectors_or_the_classifier(name, view, new_dim):
    batch = make_batch(view, unit(IMAGES, new_dim, seed=3))
    new = batch.new.clone().requires_grad_()
    build(name, view, new_dim)(replace(batch, new=new)).backward()
    pulled = batch.classifier.grad if name in THROUGH_THE_CLASSIFIER else new.grad
    assert torch.isfinite(pulled).all()
    assert pulled.abs().sum() > 0
    assert (new.grad is None) == (name in THROUGH_THE_CLASSIFIER)


def test_leaves_the_view_and_the_old_vectors_alone(name, view):
    batch, untouched = make_batch(view, unit(IMAGES, DIM, seed=3)), make_view()
    before = batch.old.clone()
    gradient(build(name, view), batch)
    for side in ("vectors", "labels", "prototypes", "target"):
        torch.testing.assert_close(getattr(view, side), getattr(untouched, side), rtol=0, atol=0)
    torch.testing.assert_close(batch.old, before, rtol=0, atol=0)


def test_its_slope_is_that_of_its_value(name, view):
    loss = unsettle(build(name, view)).double()
    batch = make_batch(view, unit(IMAGES, DIM, seed=3), torch.float64)

    def value(new: torch.Tensor, classifier: torch.Tensor) -> torch.Tensor:
        def classification(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(vectors @ classifier.T, labels)

        return loss(replace(batch, new=new, classifier=classifier, classification=classification))

    assert torch.autograd.gradcheck(value, (batch.new.requires_grad_(), batch.classifier))


@pytest.mark.parametrize("name", sorted({*TO_NEW_VECTORS} & {*ALIGNING}))
@pytest.mark.parametrize("new_dim", DIMS)
def test_is_lower_where_the_new_vectors_are_the_old_ones(name, view, new_dim):
    loss, home = build(name, view, new_dim), at_home(view, new_dim)
    assert all(loss(home) < loss(replace(home, new=unit(IMAGES, new_dim, seed))) for seed in range(3, 8))


@pytest.mark.parametrize("name", TO_NEW_VECTORS)
def test_a_step_down_its_slope_lowers_it(name, view):
    loss, batch = build(name, view), make_batch(view, unit(IMAGES, DIM, seed=3))
    moved = functional.normalize(batch.new - 0.01 * gradient(loss, batch), dim=1)
    assert loss(replace(batch, new=moved)) < loss(batch)


@pytest.mark.parametrize("progress", [0.3, 1.0])
def test_the_order_of_the_batch_does_not_count(name, view, progress):
    loss = unsettle(build(name, view))
    batch = replace(make_batch(view, unit(IMAGES, DIM, seed=3)), progress=progress)
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(loss(part(batch, order)), loss(batch))


@pytest.mark.parametrize("name", ALIGNING)
def test_a_wrong_old_side_costs(name, view):
    """No loss but a control ignores the side of the old model that it is there to match."""
    home = at_home(view)
    wrong = replace(view, vectors=view.vectors.roll(1, dims=0), prototypes=view.prototypes.roll(1, dims=0))
    assert build(name, wrong)(replace(home, old=home.old.roll(1, dims=0))) > build(name, view)(home)


@pytest.mark.parametrize("sign", [1, -1], ids=["identical", "opposite"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradients_are_finite_at_the_extremes(name, view, sign, dtype):
    loss = build(name, view).to(dtype)
    batch = make_batch(view, sign * at_home(view).old, dtype)
    batch = replace(batch, new=sign * batch.old)
    for labels in (batch.labels, torch.zeros_like(LABELS)):
        assert torch.isfinite(gradient(loss, replace(batch, labels=labels))).all()


@pytest.mark.parametrize("new_dim", DIMS)
@pytest.mark.parametrize(
    "rows",
    [torch.tensor([1]), torch.tensor([0]), torch.tensor([1, 5, 9]), TURNED.nonzero().flatten()],
    ids=["one upright picture", "one turned picture", "one class", "turned pictures"],
)
def test_a_batch_without_others_is_no_special_case(name, view, new_dim, rows):
    loss, batch = build(name, view, new_dim), part(make_batch(view, unit(IMAGES, new_dim, seed=3)), rows)
    assert torch.isfinite(loss(batch))
    assert torch.isfinite(gradient(loss, batch)).all()


@pytest.mark.parametrize("name", sorted(name for name, loss in BACKWARD_LOSSES.items() if not loss.needs_old))
def test_losses_said_not_to_need_old_vectors_do_without(name, view):
    loss, batch = build(name, view), make_batch(view, unit(IMAGES, DIM, seed=3))
    assert torch.equal(loss(replace(batch, old=torch.empty(0, DIM))), loss(batch))


@pytest.mark.parametrize("name", sorted(name for name, loss in BACKWARD_LOSSES.items() if not loss.needs_target))
def test_losses_said_not_to_need_a_target_do_without(name, view):
    plain = replace(view, target=None)
    assert torch.isfinite(build(name, plain)(make_batch(plain, unit(IMAGES, DIM, seed=3))))


def test_a_checkpoint_has_its_weights_and_nothing_of_the_view(name, view):
    loss, batch = unsettle(build(name, view)), replace(make_batch(view, unit(IMAGES, DIM, seed=3)), progress=0.3)
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    assert set(state) == {key for key, _ in loss.named_parameters()}
    again = build(name, view)
    again.load_state_dict(state)
    assert torch.equal(again(batch), loss(batch))


def test_every_weight_of_its_own_has_a_gradient_in_every_step(name, view):
    """Several processes wait for each other at every weight."""
    loss, batch = build(name, view), make_batch(view, unit(IMAGES, DIM, seed=3))
    for rows in (torch.arange(IMAGES), torch.tensor([0])):
        for progress in (0.0, 0.3, 1.0):
            loss.zero_grad()
            value = loss(replace(part(batch, rows), progress=progress))
            if any(parameter.requires_grad for parameter in loss.parameters()):
                value.backward()
            assert all(parameter.grad is not None for parameter in loss.parameters())


def test_the_folded_neck_gives_what_the_loss_says_is_served(name, view):
    loss, neck, pooled = unsettle(build(name, view)), nn.Linear(6, DIM), torch.randn(5, 6)
    with torch.no_grad():
        expected = loss.served(functional.normalize(neck(pooled), dim=1))
        loss.fold(neck)
        torch.testing.assert_close(functional.normalize(neck(pooled), dim=1), expected)
    if not loss.needs_neck:
        torch.testing.assert_close(expected, loss.served(expected), rtol=0, atol=0)
