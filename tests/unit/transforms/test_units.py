from __future__ import annotations

import numpy as np
import torch

from bict.transforms.units import Units


def test_of_centres_and_gives_unit_variance_and_leave_undoes_enter():
    rows = np.random.default_rng(0).normal(5, [1, 3], (4000, 2)).astype(np.float32)
    units = Units.of(rows)
    inside = units.enter(torch.tensor(rows))
    np.testing.assert_allclose(inside.mean(0), 0, atol=1e-4)
    assert abs(inside.square().mean().item() - 1) < 1e-4
    assert 2.5 < inside[:, 1].std() / inside[:, 0].std() < 3.5
    np.testing.assert_allclose(units.leave(inside), rows, rtol=1e-5, atol=1e-5)


def test_around_zero_keeps_directions():
    rows = np.array([[3, 4], [0, 5]], np.float32)
    units = Units.around_zero(rows)
    np.testing.assert_allclose(units.enter(torch.tensor(rows)), rows / np.sqrt(12.5), rtol=1e-6)


def test_equal_rows_have_no_spread_and_stay_finite():
    rows = np.full((3, 2), 7, np.float32)
    assert Units.of(rows).enter(torch.tensor(rows)).tolist() == [[0, 0]] * 3
