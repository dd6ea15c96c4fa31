"""A residual network on top of the ridge map: the rung for relations that no matrix can follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from bict.errors import SettingsError
from bict.progress import Progress, silent
from bict.transforms.classification import FrozenClassifier
from bict.transforms.descent import descend, passes
from bict.transforms.precision import Weights
from bict.transforms.residual import EPOCHS, STEPS, Residual, fold, psi, start
from bict.transforms.ridge import Ridge
from bict.transforms.rung import Pairs, require_at_least
from bict.transforms.units import Units

WIDEST = 1024


@dataclass(eq=False)
class ResidualMLP(Residual):
    """psi(x) = x W + b + gelu(x W1 + b1) W2, with W and b from `Ridge` and W2 = 0 at the start.

    Loss: mean of 1 - cos(psi(old), new) over all views, plus, where asked for, `class_weight` times the cross-entropy
    of `scale` * cos(psi(old), prototypes) against the label (plain views only), and `length_weight` times
    (|psi(old)| / |new| - 1)^2. So only the direction is trained, unless `length_weight` is set.
    The form follows the forward stage of Su et al., "Privacy-Preserving Model Upgrades with Bidirectional Compatible
    Training in Image Retrieval", 2022 (arXiv 2204.13919), which does not publish its network. Training runs in
    coordinates where inputs and outputs have unit variance, folded into the weights afterwards; it draws from its own
    generator and leaves torch's global one alone.

    Attributes:
        hidden: width; None for 8 times the larger dimension, at most 1024.
        epochs: passes over all views of all pairs; None for 8, or for as many as make 300 steps.
        lr: peak of AdamW's cosine schedule.
        weight_decay: of AdamW, decoupled.
        batch: rows for each step.
        dropout: share of hidden units left out in a step.
        noise: standard deviation of Gaussian noise on the inputs, in units of their own.
        class_weight: of the cross-entropy; above 0 it needs labels and prototypes.
        scale: inverse temperature of the cross-entropy.
        length_weight: of the length term; cos alone learns directions, which is all a normalised space holds.
        seed: of initialisation, order, dropout and noise, and of the inner split of `Ridge`.
        weights_: `weight`, `bias`, `hidden_weight`, `hidden_bias`, `out_weight`.
        losses_: mean loss of each epoch.

    Raises:
        SettingsError: a width, count, share or weight out of range.
    """

    name: ClassVar[str] = "mlp"
    hidden: int | None = None
    epochs: int | None = None
    lr: float = 5e-3
    weight_decay: float = 1e-2
    batch: int = 1024
    dropout: float = 0.0
    noise: float = 0.0
    class_weight: float = 0.0
    scale: float = 16.0
    length_weight: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"hidden": 1, "epochs": 0, "batch": 1, "dropout": 0, "noise": 0, "class_weight": 0, "length_weight": 0}
        require_at_least(self, least)
        if self.dropout >= 1:
            raise SettingsError(f"dropout of mlp must be below 1, found {self.dropout}")

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Fit the ridge map, then train all weights; `progress` is told of every epoch.

        Raises:
            TransformError: fewer than two images, a class term without labels and prototypes, or a loss that is not
                finite.
        """
        sides = pairs.flat()
        with torch.inference_mode(False), torch.enable_grad():
            classifier = self._classifier(pairs)
            units = Units.of(sides[0]), Units.around_zero(sides[1])
            old, new = (unit.enter(torch.tensor(side)) for unit, side in zip(units, sides, strict=True))
            generator = torch.Generator().manual_seed(self.seed)
            weights = self._start(Ridge(seed=self.seed).fit(pairs), units, generator)

            def loss(index: Tensor, _done: float) -> Tensor:
                mapped = self._noisy_psi(old[index], weights, generator)
                value = (1 - functional.cosine_similarity(mapped, new[index])).mean()
                if classifier is not None:
                    value = value + classifier.loss(mapped, index)
                if self.length_weight > 0:
                    value = value + self.length_weight * _length_error(mapped, new[index])
                return value

            self.losses_ = descend(
                self.name,
                loss,
                len(old),
                torch.optim.AdamW(list(weights.values()), lr=self.lr, weight_decay=self.weight_decay),
                epochs=passes(len(old), self.batch, epochs=self.epochs, least=EPOCHS, steps=STEPS),
                batch=self.batch,
                generator=generator,
                progress=progress,
            )
            self.weights_ = fold({name: weight.detach() for name, weight in weights.items()}, *units)
        return self

    def _classifier(self, pairs: Pairs) -> FrozenClassifier | None:
        return FrozenClassifier(pairs, weight=self.class_weight, scale=self.scale) if self.class_weight > 0 else None

    def _start(self, ridge: Ridge, units: tuple[Units, Units], generator: torch.Generator) -> Weights:
        hidden = self.hidden or min(8 * max(ridge.weight_.shape), WIDEST)
        weights = start(ridge.weight_, ridge.bias_, hidden, *units, generator)
        return {name: weight.requires_grad_() for name, weight in weights.items()}

    def _noisy_psi(self, old: Tensor, weights: Weights, generator: torch.Generator) -> Tensor:
        if self.noise > 0:
            old = old + self.noise * torch.randn(old.shape, generator=generator)
        keep = None
        if self.dropout > 0:
            units = (len(old), len(weights["hidden_bias"]))
            keep = (torch.rand(units, generator=generator) >= self.dropout) / (1 - self.dropout)
        return psi(old, weights, keep=keep)


def _length_error(mapped: Tensor, new: Tensor) -> Tensor:
    ratio: Tensor = mapped.norm(dim=1) / new.norm(dim=1)
    return (ratio - 1).square().mean()
