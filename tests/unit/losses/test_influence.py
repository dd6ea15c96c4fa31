"""Influence loss against loops, and the prototypes it classifies with."""

from __future__ import annotations

import math

import pytest
import torch

from bict.losses.influence import influence, old_prototypes

RIGHT, UP = [1.0, 0.0], [0.0, 1.0]


def by_loops(new: list[list[float]], labels: list[int], prototypes: list[list[float]], scale: float) -> float:
    losses = []
    for vector, label in zip(new, labels, strict=True):
        logits = [scale * sum(z * p for z, p in zip(vector, row, strict=True)) for row in prototypes]
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("scale", [1.0, 24.0])
def test_equals_a_loop_over_images_and_classes(unit_rows, scale):
    new, prototypes = unit_rows(7, 5), unit_rows(4, 5, seed=1)
    labels = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    expected = by_loops(new.tolist(), labels.tolist(), prototypes.tolist(), scale)
    assert influence(new, labels, prototypes, scale=scale).item() == pytest.approx(expected, rel=1e-12)


def test_equals_cross_entropy_by_hand():
    # Prototypes: class 0 points right, class 1 up; scale 2.
    # Image 0 = (0.6, 0.8), class 0: logits (1.2, 1.6), loss = log(1 + e^(1.6 - 1.2)) = log(1 + e^0.4) = 0.913015
    # Image 1 = (0, 1), class 1:      logits (0, 2),     loss = log(1 + e^(0 - 2))     = log(1 + e^-2)  = 0.126928
    # Mean: (0.913015 + 0.126928) / 2 = 0.519972
    new = torch.tensor([[0.6, 0.8], UP], dtype=torch.float64)
    loss = influence(new, torch.tensor([0, 1]), torch.tensor([RIGHT, UP], dtype=torch.float64), scale=2.0)
    assert loss.item() == pytest.approx(0.519972, abs=1e-6)


def test_is_nothing_on_the_own_prototype_and_the_scale_on_another_or_opposite():
    prototypes, label = torch.tensor([RIGHT, UP]), torch.tensor([0])
    losses = [influence(torch.tensor([z]), label, prototypes, scale=30.0).item() for z in (RIGHT, UP, [-1.0, 0.0])]
    assert losses == pytest.approx([0, 30, 30], abs=1e-6)


def test_a_seen_class_keeps_the_row_of_the_old_classifier():
    classifier = torch.tensor([RIGHT, UP])
    seen = torch.tensor([1, -1, 0])  # the new model's classes 0 and 2 are the old model's 1 and 0
    vectors = torch.tensor([[0.6, 0.8], [0.6, 0.8], [-1.0, 0.0]])
    found = old_prototypes(classifier, seen, vectors, torch.tensor([0, 2, 1]), classes=3)
    torch.testing.assert_close(found, torch.tensor([UP, [-1.0, 0.0], RIGHT]))


def test_an_unseen_class_gets_the_unit_mean_of_its_old_vectors_in_class_order():
    # Class 0: (1, 0) and (0, 1), mean direction (1, 1) / sqrt(2). Class 1: (0.6, 0.8) twice, which is its own mean.
    vectors = torch.tensor([[0.6, 0.8], RIGHT, [0.6, 0.8], UP])
    found = old_prototypes(torch.zeros(1, 2), torch.tensor([-1, -1]), vectors, torch.tensor([1, 0, 1, 0]), classes=2)
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5, 0.5**0.5], [0.6, 0.8]]))


def test_prototypes_stay_finite_where_the_old_vectors_cancel_out():
    vectors = torch.tensor([RIGHT, [-1.0, 0.0]])
    found = old_prototypes(torch.zeros(1, 2), torch.tensor([-1]), vectors, torch.tensor([0, 0]), classes=1)
    assert torch.isfinite(found).all()
    assert torch.isfinite(influence(vectors, torch.tensor([0, 0]), found))


def test_prototypes_are_unit_rows_whatever_the_classes(unit_rows):
    labels = torch.arange(20) % 6
    seen = torch.tensor([2, -1, 0, -1, 1, -1])
    found = old_prototypes(unit_rows(3, 4), seen, unit_rows(20, 4, seed=1), labels, classes=6)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6, dtype=torch.float64))
