"""Randomness inside and outside."""

from __future__ import annotations

import pytest
import torch

from bict.training.randomness import own_randomness


def test_inside_the_seed_decides_and_outside_nothing_has_happened():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with own_randomness(1):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with own_randomness(1):
        assert torch.equal(torch.rand(3), first)
    with own_randomness(2):
        assert not torch.equal(torch.rand(3), first)


def test_it_may_be_nested_and_left_by_an_error():
    before = torch.random.get_rng_state()
    with own_randomness(1):
        torch.rand(2)
        with pytest.raises(RuntimeError, match="stop"), own_randomness(2):
            raise RuntimeError("stop")
        second = torch.rand(2)
    assert torch.equal(torch.random.get_rng_state(), before)
    with own_randomness(1):
        assert torch.equal(torch.rand(4)[2:], second)
