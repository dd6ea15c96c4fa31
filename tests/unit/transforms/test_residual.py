from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bict.transforms.residual import fold, psi, start
from bict.transforms.units import Units


def test_psi_by_hand():
    def gelu(x: float) -> float:
        return x * (1 + math.erf(x / math.sqrt(2))) / 2

    weights = {
        "weight": torch.tensor([[2.0], [0.0]]),
        "bias": torch.tensor([1.0]),
        "hidden_weight": torch.tensor([[1.0, 0.0], [0.0, -1.0]]),
        "hidden_bias": torch.tensor([0.5, 0.0]),
        "out_weight": torch.tensor([[10.0], [100.0]]),
    }
    old = torch.tensor([[0.5, 1.0]])
    assert psi(old, weights).item() == pytest.approx(2 + 10 * gelu(1.0) + 100 * gelu(-1.0), rel=1e-5)
    assert psi(old, weights, keep=torch.tensor([[2.0, 0.0]])).item() == pytest.approx(2 + 20 * gelu(1.0), rel=1e-5)


def test_start_is_the_affine_map_and_fold_undoes_the_units():
    rng = np.random.default_rng(0)
    old, weight, bias = (rng.normal(3, 2, size).astype(np.float32) for size in ((50, 4), (4, 3), 3))
    units = Units.of(old), Units.around_zero(old @ weight + bias)
    begun = start(weight, bias, 7, *units, torch.Generator().manual_seed(0))
    entered = psi(units[0].enter(torch.tensor(old)), begun)
    np.testing.assert_allclose(units[1].leave(entered), old @ weight + bias, rtol=1e-4, atol=1e-4)
    begun |= {"hidden_bias": torch.rand(7), "out_weight": torch.rand(7, 3)}
    inside = units[1].leave(psi(units[0].enter(torch.tensor(old)), begun))
    np.testing.assert_allclose(psi(torch.tensor(old), fold(begun, *units)), inside, rtol=1e-4, atol=1e-3)
