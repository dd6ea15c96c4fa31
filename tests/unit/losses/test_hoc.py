"""Higher-order contrastive loss against loops."""

from __future__ import annotations

import math

import pytest
import torch

from bict.losses import Batch, OldView
from bict.losses.hoc import HOC


@pytest.mark.parametrize("new_dim", [5, 7, 3])
def test_equals_a_loop_over_old_anchors(view, make_batch, new_dim):
    batch = make_batch(new_dim)
    seen = [torch.nn.functional.pad(row[:5], (0, 5 - len(row[:5]))) / row[:5].norm() for row in batch.new]
    losses = []
    for i, old in enumerate(batch.old):
        own = math.exp(10 * float(old @ seen[i]))
        others = [math.exp(10 * float(old @ seen[j])) for j in range(8) if batch.labels[j] != batch.labels[i]]
        losses.append(-math.log(own / (own + sum(others))))
    assert HOC(view, new_dim)(batch).item() == pytest.approx(sum(losses) / 8)


def test_the_old_vector_is_the_anchor_by_hand(view):
    # Concentration 10; two pictures of two classes, old right and up, new both right:
    # old right against new right, right: log(1 + e^(10 - 10)) = log 2; old up against 0, 0: log 2.
    # With the sides changed it would be log(1 + e^-10) and log(1 + e^10).
    plane = torch.eye(2, dtype=torch.float64)
    labels = torch.tensor([0, 1])
    loss = HOC(OldView(plane, labels, plane, classes=2), 2)
    batch = Batch(plane[[0, 0]], labels, plane, labels, lambda _vectors, _labels: plane.sum(), plane, 0.0)
    assert loss(batch).item() == pytest.approx(math.log(2))
