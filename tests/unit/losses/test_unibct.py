"""Refined prototypes against the refinement written out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from bict.losses.influence import influence
from bict.losses.unibct import UniBCT, refine


def smoothed(old: torch.Tensor, neighbours: torch.Tensor, smoothing: float, temperature: float) -> torch.Tensor:
    """`(1 - l) (I - l S)^-1 O` as the sum of the walks of all lengths, `(1 - l) (1 + l S + l^2 S^2 + ...) O`."""
    walk = torch.zeros(len(old), len(old), dtype=old.dtype)
    for i in range(len(old)):
        weights = {j: math.exp(float(neighbours[i] @ neighbours[j]) / temperature) for j in range(len(old)) if j != i}
        for j, weight in weights.items():
            walk[i, j] = weight / sum(weights.values())
    found, step = torch.zeros_like(old), (1 - smoothing) * old
    for _ in range(600):
        found, step = found + step, smoothing * walk @ step
    return found


@pytest.mark.parametrize(("smoothing", "temperature"), [(0.9, 0.05), (0.5, 1.0)])
def test_equals_the_mean_of_all_walks(unit_rows, smoothing, temperature):
    old, neighbours = unit_rows(6, 4), unit_rows(6, 3, seed=1)
    expected = functional.normalize(smoothed(old, neighbours, smoothing, temperature).mean(dim=0), dim=0)
    found = refine(old, neighbours, smoothing=smoothing, temperature=temperature)
    torch.testing.assert_close(found, expected)


def test_a_stray_vector_counts_less_than_the_ones_that_agree():
    together = functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [1.0, 0.05]]), dim=1)
    old = torch.cat([together, torch.tensor([[0.0, 1.0]])])
    mean = functional.normalize(old.mean(dim=0), dim=0)
    assert refine(old, old)[0] > mean[0] + 0.01


def test_one_picture_is_its_own_prototype_and_two_are_their_mean(unit_rows):
    old = unit_rows(2, 4)
    torch.testing.assert_close(refine(old[:1], old[:1]), old[0])
    torch.testing.assert_close(refine(old, old), functional.normalize(old.sum(dim=0), dim=0))


def test_the_target_says_who_is_alike_and_the_old_vectors_where_it_was_shown_nothing(view):
    loss = UniBCT(view, 5)
    for number, rows in enumerate(view.members()):
        neighbours = view.target[rows] if number < view.classes else view.vectors[rows]
        torch.testing.assert_close(loss.prototypes[number], refine(view.vectors[rows], neighbours))
    alone = UniBCT(replace(view, target=None), 5)
    for number, rows in enumerate(view.members()):
        torch.testing.assert_close(alone.prototypes[number], refine(view.vectors[rows], view.vectors[rows]))


@pytest.mark.parametrize("new_dim", [5, 7, 3])
def test_is_the_influence_of_the_refined_prototypes(view, make_batch, new_dim):
    loss, batch = UniBCT(view, new_dim), make_batch(new_dim)
    torch.testing.assert_close(loss(batch), influence(loss.seen(batch), batch.labels, loss.prototypes))
