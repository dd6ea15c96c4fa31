"""Regression backward loss against loops."""

from __future__ import annotations

import pytest
import torch

from bict.losses.regression import regression


def test_equals_a_loop_over_images_and_dimensions(unit_rows):
    new, old = unit_rows(6, 4), unit_rows(6, 4, seed=1)
    distances = [
        sum((z - o) ** 2 for z, o in zip(*rows, strict=True)) for rows in zip(new.tolist(), old.tolist(), strict=True)
    ]
    assert regression(new, old).item() == pytest.approx(sum(distances) / 6, rel=1e-12)


@pytest.mark.parametrize(("vector", "expected"), [([1.0, 0.0], 0.0), ([0.0, 1.0], 2.0), ([-1.0, 0.0], 4.0)])
def test_is_two_minus_two_cosines_on_unit_vectors(vector, expected):
    assert regression(torch.tensor([vector]), torch.tensor([[1.0, 0.0]])).item() == expected
