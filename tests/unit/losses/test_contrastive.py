"""Contrastive backward loss against loops."""

from __future__ import annotations

import math

import pytest
import torch

from bict.losses.contrastive import contrastive


def by_loops(new: list[list[float]], labels: list[int], old: list[list[float]], temperature: float) -> float:
    losses = []
    for i, vector in enumerate(new):
        cosines = [sum(z * o for z, o in zip(vector, row, strict=True)) for row in old]
        own = math.exp(cosines[i] / temperature)
        others = sum(math.exp(cosines[j] / temperature) for j in range(len(old)) if labels[j] != labels[i])
        losses.append(-math.log(own / (own + others)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_equals_a_loop_over_pairs(unit_rows, temperature):
    new, old = unit_rows(8, 5), unit_rows(8, 5, seed=1)
    labels = torch.tensor([0, 1, 1, 2, 0, 0, 3, 2])
    expected = by_loops(new.tolist(), labels.tolist(), old.tolist(), temperature)
    assert contrastive(new, labels, old, temperature=temperature).item() == pytest.approx(expected, rel=1e-12)


def test_leaves_other_images_of_the_same_class_out_by_hand():
    # New and old vectors agree: right and up of class 0, left of class 1; temperature 1.
    # Right: own 1, left -1                -> log(1 + e^-2)        = 0.126928
    # Up:    own 1, left 0                 -> log(1 + e^-1)        = 0.313262
    # Left:  own 1, right -1 and up 0      -> log(1 + e^-2 + e^-1) = 0.407606
    # Mean: 0.847796 / 3 = 0.282599
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = contrastive(vectors, torch.tensor([0, 0, 1]), vectors, temperature=1.0)
    assert loss.item() == pytest.approx(0.282599, abs=1e-6)


def test_a_batch_of_one_class_costs_nothing_and_pulls_nowhere(unit_rows):
    new = unit_rows(5, 3).requires_grad_()
    loss = contrastive(new, torch.zeros(5, dtype=torch.long), unit_rows(5, 3, seed=1))
    loss.backward()
    assert loss.item() == 0
    assert not new.grad.any()
