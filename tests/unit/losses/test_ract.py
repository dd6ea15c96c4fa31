"""Regression-alleviating contrastive loss against loops."""

from __future__ import annotations

import math

import pytest
import torch

from bict.losses.contrastive import contrastive
from bict.losses.ract import RACT, ract

LABELS = torch.tensor([0, 1, 1, 2, 0, 0, 3, 2])


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def by_loops(new, labels, old, temperature: float, hardest: int) -> float:
    losses = []
    for i, vector in enumerate(new):
        others = [j for j in range(len(old)) if labels[j] != labels[i]]
        to_old = sorted((dot(vector, old[j]) for j in others), reverse=True)[:hardest]
        to_new = sorted((dot(vector, new[j]) for j in others), reverse=True)[:hardest]
        own = math.exp(dot(vector, old[i]) / temperature)
        losses.append(-math.log(own / (own + sum(math.exp(cosine / temperature) for cosine in to_old + to_new))))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("hardest", [1, 3, 10])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_equals_a_loop_over_the_hardest_pairs(unit_rows, temperature, hardest):
    new, old = unit_rows(8, 5), unit_rows(8, 5, seed=1)
    expected = by_loops(new.tolist(), LABELS.tolist(), old.tolist(), temperature, hardest)
    found = ract(new, LABELS, old, temperature=temperature, hardest=hardest)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_a_class_of_the_batch_adds_nothing_to_its_own_sums_by_hand():
    # New and old vectors agree: right twice of class 0, left of class 1; temperature 1.
    # Right: own 1, old left -1, new left -1               -> log(1 + 2 e^-2) = 0.239545 (twice)
    # Left:  own 1, old right -1 twice, new right -1 twice -> log(1 + 4 e^-2) = 0.432653
    # Mean: 0.911743 / 3 = 0.303914
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert ract(vectors, torch.tensor([0, 0, 1]), vectors, temperature=1.0).item() == pytest.approx(0.303914, abs=1e-6)


def test_a_batch_of_one_class_costs_nothing(unit_rows):
    assert ract(unit_rows(5, 3), torch.zeros(5, dtype=torch.long), unit_rows(5, 3, seed=1)).item() == 0


def test_new_negatives_cost_more_than_contrastive_alone(unit_rows):
    new, old = unit_rows(8, 5), unit_rows(8, 5, seed=1)
    assert ract(new, LABELS, old, hardest=8) > contrastive(new, LABELS, old)


def test_a_longer_new_vector_is_cut_for_the_old_side_alone(view, make_batch):
    batch = make_batch(7)
    cut = batch.new[:, :5] / batch.new[:, :5].norm(dim=1, keepdim=True)
    others = batch.labels[:, None] != batch.labels[None, :]
    expected = []
    for i in range(8):
        own = cut[i] @ batch.old[i]
        wrong = torch.cat([(batch.old @ cut[i])[others[i]], (batch.new @ batch.new[i])[others[i]]])
        expected.append(torch.logsumexp(torch.cat([own[None], wrong]) / 0.05, dim=0) - own / 0.05)
    torch.testing.assert_close(RACT(view, 7)(batch), torch.stack(expected).mean())
