"""Classification losses against their formulas, worked out with the angle itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from bict.errors import UnknownName
from bict.losses import CLASSIFICATION_LOSSES, build_classification, classifier_of

# Two classes, right and up; one vector at 30 degrees from class 0, hence 60 degrees from class 1.
ANGLE = math.radians(30)
VECTOR = torch.tensor([[math.cos(ANGLE), math.sin(ANGLE)]])
SCALE, MARGIN = 4.0, 0.3


def build(name: str, rows: torch.Tensor, margin: float = MARGIN) -> torch.nn.Module:
    loss = build_classification(name, *rows.shape, scale=SCALE, margin=margin)
    with torch.no_grad():
        loss.W.copy_(3 * rows.T)  # only the direction of a classifier's row may count
    return loss


def cross_entropy(own: float, other: float) -> float:
    return math.log(1 + math.exp(SCALE * other - SCALE * own))


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(
    ("name", "own_class"),
    [
        ("softmax", math.cos),
        ("cosface", lambda angle: math.cos(angle) - MARGIN),
        ("arcface", lambda angle: math.cos(angle + MARGIN)),  # the margin is in radians
    ],
)
def test_equals_the_formula_on_one_vector_and_two_classes(name, own_class, label):
    angles = [ANGLE, math.pi / 2 - ANGLE]
    expected = cross_entropy(own_class(angles[label]), math.cos(angles[1 - label]))
    loss = build(name, torch.eye(2))(VECTOR, torch.tensor([label]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_softmax_is_scaled_cosine_cross_entropy(unit_rows):
    rows, vectors, labels = unit_rows(5, 7).float(), unit_rows(9, 7, seed=1).float(), torch.arange(9) % 5
    expected = functional.cross_entropy(SCALE * vectors @ rows.T, labels)
    torch.testing.assert_close(build("softmax", rows)(vectors, labels), expected)


def test_simplex_is_softmax_with_its_own_rows(unit_rows):
    rows, vectors, labels = unit_rows(5, 7).float(), unit_rows(9, 7, seed=1).float(), torch.arange(9) % 5
    expected = build("softmax", rows)(vectors, labels)
    torch.testing.assert_close(build("simplex", rows)(vectors, labels), expected)


@pytest.mark.parametrize("name", ["cosface", "arcface"])
def test_a_margin_of_zero_is_softmax(name, unit_rows):
    rows, vectors, labels = unit_rows(5, 7).float(), unit_rows(9, 7, seed=1).float(), torch.arange(9) % 5
    expected = build("softmax", rows)(vectors, labels)
    torch.testing.assert_close(build(name, rows, margin=0.0)(vectors, labels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
@pytest.mark.parametrize("vectors", [torch.eye(3), -torch.eye(3)], ids=["on the classes", "opposite to them"])
def test_gradients_are_finite_where_the_angle_has_no_slope(name, vectors):
    vectors = vectors.clone().requires_grad_()
    loss = build(name, torch.eye(3))
    loss(vectors, torch.arange(3)).backward()
    assert torch.isfinite(vectors.grad).all()
    assert (loss.W.grad is None) == (name == "simplex")
    assert loss.W.grad is None or torch.isfinite(loss.W.grad).all()


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_the_classifier_is_unit_rows_in_class_order_and_frozen(name, unit_rows):
    rows = unit_rows(5, 7).float()
    found = classifier_of(build(name, rows))
    torch.testing.assert_close(found, rows)
    assert not found.requires_grad
    assert found.is_contiguous()


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownName, match=r"^unknown classification loss 'arkface': did you mean 'arcface'\?"):
        build_classification("arkface", 2, 2, scale=1.0, margin=0.0)


@pytest.mark.parametrize("name", sorted(CLASSIFICATION_LOSSES))
def test_the_classifier_starts_with_rows_of_unit_length(name):
    weight = build_classification(name, 5, 7, scale=16.0, margin=0.1).get_parameter("W")
    torch.testing.assert_close(weight.norm(dim=0), torch.ones(5))
