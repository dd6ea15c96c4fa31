"""Forward-compatible training: a deep network from the old vector, and what else was stored with it, to the new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bict.errors import TransformError
from bict.progress import Progress, silent
from bict.transforms.descent import descend, passes
from bict.transforms.fct_network import LAYERS, FCTNetwork, folded
from bict.transforms.precision import Weights, at_precision, with_weights
from bict.transforms.residual import device_of
from bict.transforms.rung import Pairs, require_at_least
from bict.transforms.units import Units

OutputError = Callable[[Tensor, Tensor, Tensor], Tensor]
EPOCHS, STEPS = 8, 600
WIDEST = 2048


@dataclass(eq=False)
class FCT:
    """psi(o, side) = `FCTNetwork`; loss: mean squared error to the new vector.

    Ramanujan et al., "Forward Compatible Training for Large-Scale Embedding Retrieval Systems", CVPR 2022: side
    information is a second vector stored when the image was indexed (theirs is of a SimCLR model). Adam, batch norms
    frozen in the second half, as in the paper, which trains 80 epochs with 2048 inner units and five epochs of warm-up;
    width and number of steps here are what two CPU cores can bear, without warm-up. Training runs in coordinates of
    unit variance; these and the batch norms are folded into plain layers, so that rows are mapped by themselves.

    Attributes:
        beyond: outputs of the network besides the new vector.
        side_dim: the last columns of the stored old vector that are side information; 0 where there is none, and the
            side branch sees the old vector itself.
        inner: width of the two middle layers; None for 8 times the larger dimension, at most the paper's 2048.
        epochs: passes over all views of all pairs; None for 8, or for as many as make 600 steps.
        lr: peak of Adam's cosine schedule.
        weight_decay: of Adam, not decoupled.
        batch: rows for each step.
        seed: of initialisation and order.
        weights_: `NAME_weight` and `NAME_bias` of each of `LAYERS`, batch norms folded in.
        losses_: mean loss of each epoch, in units of the variance of the new vectors.

    Raises:
        SettingsError: a width or count out of range.
    """

    name: ClassVar[str] = "fct"
    beyond: ClassVar[int] = 0
    side_dim: int = 0
    inner: int | None = None
    epochs: int | None = None
    lr: float = 5e-4
    weight_decay: float = 3e-5
    batch: int = 1024
    seed: int = 0
    weights_: Weights = field(init=False, repr=False)
    losses_: list[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_at_least(self, {"side_dim": 0, "inner": 1, "epochs": 1, "lr": 0, "weight_decay": 0, "batch": 1})

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Train the network from a random start; `progress` is told of every epoch.

        Raises:
            TransformError: nothing but side information in the old vectors, or a loss that is not finite.
        """
        old_dim, new_dim = pairs.old.shape[2], pairs.new.shape[2]
        if self.side_dim >= old_dim:
            raise TransformError(f"side_dim {self.side_dim} leaves nothing of old vectors of {old_dim} dimensions")
        raw = *self._split(pairs.flat()[0]), pairs.flat()[1]
        with torch.inference_mode(False), torch.enable_grad():
            units = [Units.of(each) for each in raw]
            old, side, new = (unit.enter(torch.tensor(each)) for unit, each in zip(units, raw, strict=True))
            generator = torch.Generator().manual_seed(self.seed)
            inner = self.inner or min(8 * max(old.shape[1], new_dim), WIDEST)
            network = FCTNetwork(old.shape[1], side.shape[1], new_dim, inner, new_dim + self.beyond, generator)
            error = self._error(pairs, units[2])

            def loss(index: Tensor, done: float) -> Tensor:
                network.train(done < 0.5 and len(index) > 1)
                return error(network(old[index], side[index]), new[index], index)

            self.losses_ = descend(
                self.name,
                loss,
                len(old),
                torch.optim.Adam(network.parameters(), lr=self.lr, weight_decay=self.weight_decay),
                epochs=passes(len(old), self.batch, epochs=self.epochs, least=EPOCHS, steps=STEPS),
                batch=self.batch,
                generator=generator,
                progress=progress,
            )
            with torch.no_grad():
                self.weights_ = network.fold(*units)
        return self

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)`, side information last, to `(rows, new_dim)`."""
        outputs = self._outputs(old)
        return np.ascontiguousarray(outputs[:, : outputs.shape[1] - self.beyond])

    def at(self, precision: torch.dtype) -> Self:
        """The same map with all layers in another precision."""
        return with_weights(self, at_precision(self.weights_, precision))

    def state(self) -> dict[str, NDArray[Any]]:
        """Weight and bias of every layer."""
        return {name: weight.cpu().numpy() for name, weight in self.weights_.items()}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted network; `losses_` is not kept."""
        rung = cls(**settings)
        names = [f"{layer}_{part}" for part in ("weight", "bias") for layer in LAYERS]
        rung.weights_ = {name: torch.tensor(state[name]) for name in names}
        return rung

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter of the constructor."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    def _error(self, pairs: Pairs, new_units: Units) -> OutputError:
        return lambda outputs, new, _index: functional.mse_loss(outputs, new)

    def _split(self, old: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Stored vectors as old vectors and side information."""
        if not self.side_dim:
            return old, old
        return old[:, : -self.side_dim], old[:, -self.side_dim :]

    def _outputs(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        parts, device = self._split(np.ascontiguousarray(old, np.float32)), device_of(self.weights_)
        with torch.inference_mode():
            vector, side = (torch.tensor(part, device=device) for part in parts)
            return np.asarray(folded(vector, side, self.weights_).float().cpu().numpy(), np.float32)
