"""A small residual network beside a fixed rotation, trained on the squared error: the third form of Drift-Adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bict.progress import Progress, silent
from bict.transforms.descent import descend, passes
from bict.transforms.precision import Weights
from bict.transforms.procrustes import Procrustes
from bict.transforms.residual import EPOCHS, STEPS, Residual, fold, psi, start
from bict.transforms.rung import Pairs, require_at_least
from bict.transforms.units import Units


@dataclass(eq=False)
class DriftMLP(Residual):
    """psi(x) = s * (x R + gelu(x W1 + b1) W2 + b2), s a factor for each dimension; loss: mean squared error.

    Vejendla, "Drift-Adapter: A Practical Approach to Near Zero-Downtime Embedding Model Upgrades in Vector Databases",
    EMNLP 2025 (arXiv 2509.23471), with its 256 hidden units. Its skip connection hands x on as it is, which presumes
    two spaces that lie alike: 256 units cannot undo a turn of more dimensions. So R is the `Procrustes` rotation, and
    stays; it fits sides of unequal dimension too. Starts as that rotation, with s = 1 and W2 = b2 = 0. Training runs
    in coordinates of unit variance, folded into the weights afterwards, as is s.

    Attributes:
        hidden: width.
        epochs: passes over all views of all pairs; None for 8, or for as many as make 300 steps.
        lr: peak of AdamW's cosine schedule.
        weight_decay: of AdamW, decoupled.
        batch: rows for each step.
        seed: of initialisation and order.
        weights_: `weight`, `bias`, `hidden_weight`, `hidden_bias`, `out_weight`.
        losses_: mean loss of each epoch, in units of the mean square component of the new vectors.

    Raises:
        SettingsError: a width or count out of range.
    """

    name: ClassVar[str] = "drift-mlp"
    hidden: int = 256
    epochs: int | None = None
    lr: float = 5e-3
    weight_decay: float = 1e-2
    batch: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, {"hidden": 1, "epochs": 0, "lr": 0, "weight_decay": 0, "batch": 1})

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Fit the rotation, then train all else; `progress` is told of every epoch.

        Raises:
            TransformError: a loss that is not finite.
        """
        rotation, sides = Procrustes().fit(pairs).rotation_, pairs.flat()
        with torch.inference_mode(False), torch.enable_grad():
            units = Units.of(sides[0]), Units.around_zero(sides[1])
            old, new = (unit.enter(torch.tensor(side)) for unit, side in zip(units, sides, strict=True))
            generator = torch.Generator().manual_seed(self.seed)
            trained = start(rotation, np.zeros(rotation.shape[1], np.float32), self.hidden, *units, generator)
            turn = trained.pop("weight")
            trained = {name: weight.requires_grad_() for name, weight in trained.items()}
            trained["scale"] = torch.ones(rotation.shape[1], requires_grad=True)

            def loss(index: Tensor, _done: float) -> Tensor:
                return functional.mse_loss(psi(old[index], _scaled(turn, trained)), new[index])

            self.losses_ = descend(
                self.name,
                loss,
                len(old),
                torch.optim.AdamW(list(trained.values()), lr=self.lr, weight_decay=self.weight_decay),
                epochs=passes(len(old), self.batch, epochs=self.epochs, least=EPOCHS, steps=STEPS),
                batch=self.batch,
                generator=generator,
                progress=progress,
            )
            with torch.no_grad():
                self.weights_ = fold(_scaled(turn, trained), *units)
        return self


def _scaled(turn: Tensor, trained: Weights) -> Weights:
    """The five weights of `psi` with the scale multiplied in."""
    inner = {name: trained[name] for name in ("hidden_weight", "hidden_bias")}
    outer = {"weight": turn, "bias": trained["bias"], "out_weight": trained["out_weight"]}
    return inner | {name: weight * trained["scale"] for name, weight in outer.items()}
