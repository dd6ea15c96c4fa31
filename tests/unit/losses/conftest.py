"""Unit vectors for the tests of the losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional


@pytest.fixture
def unit_rows() -> Callable[..., torch.Tensor]:
    """Draws `(rows, dim)` unit rows in float64 from a seed."""

    def draw(rows: int, dim: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return functional.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=1)

    return draw
