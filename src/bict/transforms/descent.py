"""The one loop by which every network of this package is trained."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from bict.errors import TransformError
from bict.progress import Progress

Loss = Callable[[Tensor, float], Tensor]


def passes(rows: int, batch: int, *, epochs: int | None, least: int, steps: int) -> int:
    """Passes over the rows: `epochs` where given, else `least`, or as many more as it takes to make `steps` steps."""
    return max(least, math.ceil(steps / math.ceil(rows / batch))) if epochs is None else epochs


def descend(
    name: str,
    loss: Loss,
    rows: int,
    optimiser: Optimizer,
    *,
    epochs: int,
    batch: int,
    generator: torch.Generator,
    progress: Progress,
) -> list[float]:
    """Mean loss of each epoch of minibatch descent in a random order, the step size falling along a half cosine.

    Args:
        name: of the rung, for messages.
        loss: of the rows of one batch, given their indices and the share of the epochs that are done (0 in the first).
        rows: how many there are.
        optimiser: of the parameters; its step size is the first one.
        epochs: passes over all rows.
        batch: rows for each step.
        generator: draws the order.
        progress: told of every epoch.

    Raises:
        TransformError: the loss of an epoch is not finite.
    """
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(epochs * math.ceil(rows / batch), 1))
    losses: list[float] = []
    for epoch in range(epochs):
        total = 0.0
        for index in torch.split(torch.randperm(rows, generator=generator), batch):
            value = loss(index, epoch / epochs)
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += value.item() * len(index)
        losses.append(total / rows)
        if not math.isfinite(losses[-1]):
            lr = optimiser.defaults["lr"]
            raise TransformError(f"the loss of {name} is not finite in epoch {epoch + 1}: lower lr from {lr}")
        progress(epoch + 1, epochs)
    return losses
