"""A residual network on top of the ridge map: the rung for relations that no matrix can follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bict.errors import SettingsError, TransformError
from bict.progress import Progress, silent
from bict.transforms.ridge import Ridge
from bict.transforms.rung import Pairs

Weights = dict[str, Tensor]
NO_LABEL = -1
EPOCHS, STEPS, WIDEST = 8, 300, 1024


@dataclass(eq=False)
class ResidualMLP:
    """psi(x) = x W + b + gelu(x W1 + b1) W2, with W and b from `Ridge` and W2 = 0 at the start.

    Loss: mean of 1 - cos(psi(old), new) over all views, plus, where asked for, `class_weight` times the cross-entropy
    of `scale` * cos(psi(old), prototypes) against the label (plain views only), and `length_weight` times
    (|psi(old)| / |new| - 1)^2.
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
    weights_: Weights = field(init=False, repr=False)
    losses_: list[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        least = {"hidden": 1, "epochs": 0, "batch": 1, "dropout": 0, "noise": 0, "class_weight": 0, "length_weight": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:
                raise SettingsError(f"{name} of the mlp must be at least {bound}, found {value}")
        if self.dropout >= 1:
            raise SettingsError(f"dropout of the mlp must be below 1, found {self.dropout}")

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Fit the ridge map, then train all weights; `progress` is told of every epoch.

        Raises:
            TransformError: fewer than two images, a class term without labels and prototypes, or a loss that is not
                finite.
        """
        if self.class_weight > 0 and (pairs.labels is None or pairs.prototypes is None):
            raise TransformError("class_weight above 0 needs labels and prototypes: pass both, or set it to 0")
        units = _Units.of(*pairs.flat())
        with torch.inference_mode(False), torch.enable_grad():
            generator = torch.Generator().manual_seed(self.seed)
            start = self._start(Ridge(seed=self.seed).fit(pairs), units, generator)
            weights = self._train(start, pairs, units, generator, progress)
        self.weights_ = units.fold(weights)
        return self

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)` to `(rows, new_dim)`; only the direction is trained, unless `length_weight` is set."""
        with torch.inference_mode():
            rows = torch.tensor(np.ascontiguousarray(old, np.float32))
            return np.asarray(psi(rows, self.weights_).numpy(), np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """The five weight arrays."""
        return {name: weight.numpy() for name, weight in self.weights_.items()}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted network; `losses_` is not kept."""
        rung = cls(**settings)
        names = ("weight", "bias", "hidden_weight", "hidden_bias", "out_weight")
        rung.weights_ = {name: torch.tensor(state[name]) for name in names}
        return rung

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter of the constructor."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    def _start(self, ridge: Ridge, units: _Units, generator: torch.Generator) -> Weights:
        old_dim, new_dim = ridge.weight_.shape
        hidden = self.hidden or min(8 * max(old_dim, new_dim), WIDEST)
        weight, bias = torch.from_numpy(ridge.weight_), torch.from_numpy(ridge.bias_)
        weights = {
            "weight": weight * (units.old_scale / units.new_scale),
            "bias": (bias + units.old_mean @ weight) / units.new_scale,
            "hidden_weight": torch.randn(old_dim, hidden, generator=generator) / math.sqrt(old_dim),
            "hidden_bias": torch.zeros(hidden),
            "out_weight": torch.zeros(hidden, new_dim),
        }
        return {name: weight.requires_grad_() for name, weight in weights.items()}

    def _train(
        self, weights: Weights, pairs: Pairs, units: _Units, generator: torch.Generator, progress: Progress
    ) -> Weights:
        old, new = (torch.tensor(side) for side in pairs.flat())
        old, new = (old - units.old_mean) / units.old_scale, new / units.new_scale
        labels = None if pairs.labels is None else _labels_of_view_0(pairs.labels, pairs.views)
        prototypes = None if pairs.prototypes is None else torch.tensor(pairs.prototypes)
        per_epoch = math.ceil(len(old) / self.batch)
        epochs = max(EPOCHS, math.ceil(STEPS / per_epoch)) if self.epochs is None else self.epochs
        optimiser = torch.optim.AdamW(list(weights.values()), lr=self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(epochs * per_epoch, 1))
        self.losses_ = []
        for epoch in range(epochs):
            total = 0.0
            order = torch.randperm(len(old), generator=generator)
            for rows in torch.split(order, self.batch):
                mapped = self._noisy_psi(old[rows], weights, generator)
                loss = self._loss(mapped, new[rows], None if labels is None else labels[rows], prototypes)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                total += loss.item() * len(rows)
            self.losses_.append(total / len(old))
            if not math.isfinite(self.losses_[-1]):
                raise TransformError(f"the loss of the mlp is not finite in epoch {epoch + 1}: lower lr from {self.lr}")
            progress(epoch + 1, epochs)
        return {name: weight.detach() for name, weight in weights.items()}

    def _noisy_psi(self, old: Tensor, weights: Weights, generator: torch.Generator) -> Tensor:
        if self.noise > 0:
            old = old + self.noise * torch.randn(old.shape, generator=generator)
        keep = None
        if self.dropout > 0:
            units = (len(old), len(weights["hidden_bias"]))
            keep = (torch.rand(units, generator=generator) >= self.dropout) / (1 - self.dropout)
        return psi(old, weights, keep=keep)

    def _loss(self, mapped: Tensor, new: Tensor, labels: Tensor | None, prototypes: Tensor | None) -> Tensor:
        loss = (1 - functional.cosine_similarity(mapped, new)).mean()
        if self.class_weight > 0 and labels is not None and prototypes is not None:
            cosines = functional.normalize(mapped) @ functional.normalize(prototypes).T
            classified = functional.cross_entropy(self.scale * cosines, labels, ignore_index=NO_LABEL, reduction="sum")
            loss = loss + self.class_weight * classified / (labels != NO_LABEL).sum().clamp(min=1)
        if self.length_weight > 0:
            loss = loss + self.length_weight * (mapped.norm(dim=1) / new.norm(dim=1) - 1).square().mean()
        return loss


def _labels_of_view_0(labels: NDArray[np.int64], views: int) -> Tensor:
    """Labels of all views: a picture that was turned or mirrored may be none of its class any more."""
    plain = torch.tensor(labels)
    return torch.cat([plain, torch.full((len(plain) * (views - 1),), NO_LABEL)])


def psi(old: Tensor, weights: Weights, *, keep: Tensor | None = None) -> Tensor:
    """X W + b + gelu(x W1 + b1) W2 for old `(rows, old_dim)`; `keep` `(rows, hidden)` multiplies the hidden units."""
    hidden = functional.gelu(old @ weights["hidden_weight"] + weights["hidden_bias"])
    if keep is not None:
        hidden = hidden * keep
    return old @ weights["weight"] + weights["bias"] + hidden @ weights["out_weight"]


@dataclass(frozen=True)
class _Units:
    """Where training happens: (old - old_mean) / old_scale and new / new_scale, so that step sizes fit any model."""

    old_mean: Tensor
    old_scale: float
    new_scale: float

    @classmethod
    def of(cls, old: NDArray[np.float32], new: NDArray[np.float32]) -> _Units:
        mean = old.mean(axis=0, dtype=np.float64)
        spread = math.sqrt(float(np.mean(np.square(old - mean.astype(np.float32)), dtype=np.float64)))
        length = math.sqrt(float(np.mean(np.square(new), dtype=np.float64)))
        return cls(torch.tensor(mean, dtype=torch.float32), spread or 1.0, length)

    def fold(self, weights: Weights) -> Weights:
        """The same network for raw inputs and outputs."""
        weight = weights["weight"] * (self.new_scale / self.old_scale)
        hidden_weight = weights["hidden_weight"] / self.old_scale
        return {
            "weight": weight,
            "bias": weights["bias"] * self.new_scale - self.old_mean @ weight,
            "hidden_weight": hidden_weight,
            "hidden_bias": weights["hidden_bias"] - self.old_mean @ hidden_weight,
            "out_weight": weights["out_weight"] * self.new_scale,
        }
