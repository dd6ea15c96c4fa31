from __future__ import annotations

import pytest
import torch

from bict.errors import TransformError
from bict.transforms.descent import descend, passes


def run(loss, rows: int, parameter: torch.Tensor, *, lr: float = 0.1, seed: int = 0, **how) -> list[float]:
    how = {"epochs": 3, "batch": 4, "progress": lambda done, total: None} | how
    generator = torch.Generator().manual_seed(seed)
    return descend("it", loss, rows, torch.optim.SGD([parameter], lr=lr), generator=generator, **how)


@pytest.mark.parametrize(
    ("rows", "epochs", "expected"),
    [(100, 3, 3), (100, 0, 0), (100, None, 30), (10, None, 300), (100_000, None, 8), (101, None, 28)],
)
def test_passes_are_those_asked_for_or_enough_for_the_steps(rows, epochs, expected):
    assert passes(rows, 10, epochs=epochs, least=8, steps=300) == expected


def test_every_epoch_visits_every_row_once_in_an_order_of_the_seed_and_knows_how_far_it_is():
    seen, parameter = [], torch.zeros(1, requires_grad=True)

    def loss(index, done):
        seen.append((index.tolist(), done))
        return parameter.sum()

    run(loss, 10, parameter)
    assert [len(index) for index, _ in seen] == [4, 4, 2] * 3
    assert [done for _, done in seen] == [0] * 3 + [1 / 3] * 3 + [2 / 3] * 3
    epochs = [[row for index, _ in seen[at : at + 3] for row in index] for at in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    first = seen.copy()
    seen.clear()
    run(loss, 10, parameter)
    assert seen == first


def test_losses_are_means_over_rows_and_the_steps_shrink_to_nothing():
    parameter, places = torch.zeros(1, requires_grad=True), []

    def loss(index, _done):
        places.append(parameter.item())
        return index.float().mean() - parameter.sum()

    losses = run(loss, 10, parameter, epochs=1, batch=3, lr=1.0)
    steps = [*torch.diff(torch.tensor([*places, parameter.item()])).tolist()]
    assert steps == pytest.approx([1, 0.853553, 0.5, 0.146447], abs=1e-5)
    weights = (3, 3, 3, 1)
    assert losses == pytest.approx([4.5 - sum(w * p for w, p in zip(weights, places, strict=True)) / 10])


def test_a_loss_that_is_not_finite_names_the_rung_the_epoch_and_the_first_step_size():
    parameter = torch.zeros(1, requires_grad=True)
    with pytest.raises(TransformError, match=r"the loss of it is not finite in epoch 2: lower lr from 0\.5"):
        run(lambda _index, done: parameter.sum() + (torch.inf if done else 0), 8, parameter, lr=0.5)
