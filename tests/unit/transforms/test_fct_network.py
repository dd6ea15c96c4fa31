from __future__ import annotations

import numpy as np
import pytest
import torch

from bict.transforms.fct_network import LAYERS, Block, FCTNetwork, folded
from bict.transforms.units import Units


@pytest.fixture
def network() -> FCTNetwork:
    """A network whose batch norms have seen rows that are not standard, and whose affine parts are not the default."""
    generator = torch.Generator().manual_seed(0)
    network = FCTNetwork(4, 3, 5, 16, 6, generator)
    with torch.no_grad():
        for block in network.blocks.values():
            block.norm.weight.copy_(0.5 + torch.rand(block.norm.num_features, generator=generator))
            block.norm.bias.copy_(torch.rand(block.norm.num_features, generator=generator) - 0.5)
        network.end.bias.copy_(torch.rand(6, generator=generator))
        for _ in range(20):
            network(2 + 3 * torch.randn(50, 4, generator=generator), torch.randn(50, 3, generator=generator))
    return network.eval()


def rows(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    return (torch.tensor(rng.normal(1, 2, (count, dim)), dtype=torch.float32) for dim in (4, 3))


def test_sizes_are_those_of_the_paper(network):
    sizes = {name: tuple(block.linear.weight.shape[::-1]) for name, block in network.blocks.items()}
    assert sizes == {
        "old_1": (4, 8),
        "old_2": (8, 10),
        "side_1": (3, 6),
        "side_2": (6, 10),
        "mixed_1": (20, 16),
        "mixed_2": (16, 16),
    }
    assert network.end.weight.shape == (6, 16)
    blocks, end = sum(a * b + 2 * b for a, b in sizes.values()), 16 * 6 + 6
    assert sum(each.numel() for each in network.parameters()) == blocks + end


def test_a_block_is_linear_then_norm_then_relu_and_its_plain_form_gives_the_same():
    block = Block(3, 5, torch.Generator().manual_seed(0))
    old = torch.tensor(np.random.default_rng(0).normal(4, 3, (40, 3)), dtype=torch.float32)
    with torch.no_grad():
        raw = old @ block.linear.weight.T
        expected = torch.relu((raw - raw.mean(0)) / (raw.var(0, unbiased=False) + 1e-5).sqrt())
        torch.testing.assert_close(block(old), expected, rtol=1e-4, atol=1e-4)
        weight, bias = block.eval().plain()
        torch.testing.assert_close(block(old), torch.relu(old @ weight + bias), rtol=1e-4, atol=1e-4)


def test_folded_equals_the_network_with_frozen_norms(network):
    old, side = rows(30)
    plain = [Units(torch.zeros(dim), 1.0) for dim in (4, 3, 5)]
    with torch.no_grad():
        weights = network.fold(*plain)
        torch.testing.assert_close(folded(old, side, weights), network(old, side), rtol=1e-4, atol=1e-5)
    assert set(weights) == {f"{name}_{part}" for name in LAYERS for part in ("weight", "bias")}


def test_folding_takes_the_units_in_and_leaves_outputs_beyond_the_new_vector_alone(network):
    old, side = rows(30)
    units = [
        Units(torch.full((4,), 7.0), 3.0),
        Units(torch.arange(3.0), 0.5),
        Units(torch.arange(5.0), 20.0),
    ]
    with torch.no_grad():
        inside = network(units[0].enter(old), units[1].enter(side))
        raw = folded(old, side, network.fold(*units))
    torch.testing.assert_close(raw[:, :5], units[2].leave(inside[:, :5]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(raw[:, 5:], inside[:, 5:], rtol=1e-4, atol=1e-4)


def test_either_branch_matters(network):
    old, side = rows(30)
    with torch.no_grad():
        whole = network(old, side)
        assert not torch.allclose(network(old.flip(0), side), whole)
        assert not torch.allclose(network(old, side.flip(0)), whole)


def test_starts_from_its_generator_alone():
    state = torch.get_rng_state()
    first, second, third = (
        FCTNetwork(2, 2, 2, 4, 2, torch.Generator().manual_seed(seed)).end.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), state)
