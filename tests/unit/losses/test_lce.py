"""Class centres and boundaries against loops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bict.losses.lce import LCE, boundaries


def lowest(view, number: int) -> float:
    rows = [row for row, label in enumerate(view.labels.tolist()) if label == number]
    return min(float(view.vectors[row] @ view.prototypes[number]) for row in rows)


def test_a_boundary_is_the_lowest_cosine_of_the_class(view):
    assert boundaries(view).tolist() == pytest.approx([lowest(view, number) for number in range(6)])


def fitted(vector: torch.Tensor) -> torch.Tensor:
    """A new vector in five dimensions."""
    short = vector[:5]
    return torch.cat([short, short.new_zeros(5 - len(short))]) / short.norm()


@pytest.mark.parametrize("new_dim", [5, 7, 3])
def test_equals_a_loop_over_classes_and_pictures(view, make_batch, new_dim):
    batch = make_batch(new_dim)
    squares = [(fitted(batch.classifier[c]) - view.prototypes[c]).square().sum() / 5 for c in range(3)]
    outside = []
    for vector, label in zip(batch.new, batch.labels.tolist(), strict=True):
        cosine = float(fitted(vector) @ view.prototypes[label])
        outside.append(max(0.0, lowest(view, label) - cosine))
    assert any(outside)
    assert LCE(view, new_dim)(batch).item() == pytest.approx(100 * float(sum(squares)) / 3 + sum(outside) / 8)


def test_costs_nothing_within_the_boundaries_of_aligned_centres(view, make_batch):
    batch = replace(make_batch(), classifier=view.prototypes[:3])
    batch = replace(batch, new=view.prototypes[batch.labels])
    assert LCE(view, 5)(batch).item() == pytest.approx(0, abs=1e-12)


def test_the_classifier_is_pulled_to_the_centres(view, make_batch):
    batch = make_batch()
    rows = batch.classifier.clone().requires_grad_()
    LCE(view, 5)(replace(batch, classifier=rows)).backward()
    torch.testing.assert_close(rows.grad, 100 * 2 * (rows.detach() - view.prototypes[:3]) / rows.numel())
