"""A small head trained with labels on frozen vectors: a backward-compatible training without the backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError, TransformError
from bict.evaluation import average_precision, mean, positive_ranks
from bict.progress import Progress, silent
from bict.spaces import Space, fingerprint
from bict.transforms.classification import FrozenClassifier
from bict.transforms.descent import descend
from bict.transforms.holdout import held_out_classes
from bict.transforms.precision import Weights
from bict.transforms.procrustes import Procrustes
from bict.transforms.residual import Residual, fold, psi, start
from bict.transforms.rung import Pairs, require_at_least
from bict.transforms.units import Units

QUERIES = 1000
After = Callable[[int, Weights], None]


@dataclass(eq=False)
class Head(Residual):
    """h(x) = x R + gelu(x W1 + b1) W2, R the `Procrustes` rotation, which stays, and W2 = 0 at the start.

    Loss: `class_weight` * cross-entropy of `scale` * cos(h(x), c), c a classifier that is trained with the head, +
    `influence_weight` * cross-entropy of `influence_scale` * cos(h(x), p), p the frozen mean of each class's target
    vectors, + `align_weight` * (1 - cos(h(x), y)), y the target vector of the same picture. As a query bridge, which
    is what it is for, x are new vectors and y the old ones: the first two terms are those of Shen et al., "Towards
    Backward-Compatible Representation Learning", CVPR 2020 (arXiv 2003.11942), who train the whole model with the old
    classifier. The head itself, the third term and all weights are ours. Terms on labels see plain views only.

    Labels teach more than the pairs, and may teach what other classes do not bear out. So the head is trained on a part
    of the classes first, and judged after each epoch on the others, by retrieval with h(x) among y; then again on all
    classes, up to the epoch that was best. Where the start was best, it is the rotation.

    Attributes:
        hidden: width.
        epochs: passes over all views of all pairs, at most.
        lr: peak of AdamW's cosine schedule.
        weight_decay: of AdamW, decoupled.
        batch: rows for each step.
        dropout: share of hidden units left out in a step.
        class_weight: of the classification by the head's own classifier.
        scale: inverse temperature of it.
        influence_weight: of the classification by the frozen means.
        influence_scale: inverse temperature of it.
        align_weight: of the distance to the target vector.
        held_out: part of the classes to judge on.
        seed: of that split, initialisation, order and dropout.
        weights_: `weight`, `bias`, `hidden_weight`, `hidden_bias`, `out_weight`.
        losses_: mean loss of each epoch, over all pairs.
        scores_: mean average precision on the classes held out, at the start and after each epoch.
        epoch_: the epoch whose weights were kept, 0 for the start.

    Raises:
        SettingsError: a width, count, share or weight out of range.
    """

    name: ClassVar[str] = "head"
    hidden: int = 256
    epochs: int = 12
    lr: float = 1e-3
    weight_decay: float = 1e-2
    batch: int = 512
    dropout: float = 0.2
    class_weight: float = 1.0
    scale: float = 16.0
    influence_weight: float = 1.0
    influence_scale: float = 12.0
    align_weight: float = 1.0
    held_out: float = 0.2
    seed: int = 0
    scores_: list[float] = field(init=False, repr=False)
    epoch_: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        weights = dict.fromkeys(("lr", "weight_decay", "class_weight", "influence_weight", "align_weight"), 0)
        require_at_least(self, {"hidden": 1, "epochs": 0, "batch": 1, "dropout": 0} | weights)
        if self.dropout >= 1:
            raise SettingsError(f"dropout of head must be below 1, found {self.dropout}")

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Train on some classes to find the best epoch, then on all; `progress` is told of every epoch of both.

        Raises:
            TransformError: no labels, fewer than three classes or than two with two images, or a loss that is not
                finite.
        """
        pairs = _with_means(pairs)
        held = self._hold_out(pairs)
        kept, judged = _with_means(pairs.take(~held)), pairs.take(held)
        scores: list[float] = []
        self._train(kept, lambda _epoch, weights: scores.append(_retrieval(weights, judged)), _half(progress, 0))
        self.scores_, self.epoch_ = scores, int(np.argmax(scores))

        def keep(epoch: int, weights: Weights) -> None:
            if epoch == self.epoch_:
                self.weights_ = weights

        self.losses_ = self._train(pairs, keep, _half(progress, 1))
        return self

    def _hold_out(self, pairs: Pairs) -> NDArray[np.bool_]:
        counts = np.bincount(_labels(pairs))
        if len(counts) < 3 or (counts >= 2).sum() < 2:
            raise TransformError(
                f"head needs 3 classes, 2 of them with 2 images, found {len(counts)} classes, {(counts >= 2).sum()} of "
                "them with 2 images: pass pairs of more classes, or take procrustes"
            )
        return np.isin(_labels(pairs), held_out_classes(_labels(pairs), self.held_out, seed=self.seed))

    def _train(self, pairs: Pairs, after: After, progress: Progress) -> list[float]:
        """Mean loss of each epoch; `after` is told of the weights, for raw vectors, at the start and of each epoch."""
        rotation, sides = Procrustes().fit(pairs).rotation_, pairs.flat()
        with torch.inference_mode(False), torch.enable_grad():
            units = Units.of(sides[0]), Units.around_zero(sides[1])
            taken, target = (unit.enter(torch.tensor(side)) for unit, side in zip(units, sides, strict=True))
            generator = torch.Generator().manual_seed(self.seed)
            weights = start(rotation, np.zeros(rotation.shape[1], np.float32), self.hidden, *units, generator)
            trained = [weights[name].requires_grad_() for name in ("hidden_weight", "hidden_bias", "out_weight")]
            influence = FrozenClassifier(pairs, weight=self.influence_weight, scale=self.influence_scale)
            own = _Classifier(pairs, weight=self.class_weight, scale=self.scale)

            def loss(index: Tensor, _done: float) -> Tensor:
                keep = torch.rand(len(index), self.hidden, generator=generator) >= self.dropout
                mapped = psi(taken[index], weights, keep=keep / (1 - self.dropout))
                apart = (1 - functional.cosine_similarity(mapped, target[index])).mean()
                return self.align_weight * apart + influence.loss(mapped, index) + own.loss(mapped, index)

            def report(epoch: int, epochs: int) -> None:
                after(epoch, fold({name: weight.detach() for name, weight in weights.items()}, *units))
                if epoch:
                    progress(epoch, epochs)

            report(0, self.epochs)
            return descend(
                self.name,
                loss,
                len(taken),
                torch.optim.AdamW([*trained, own.rows], lr=self.lr, weight_decay=self.weight_decay),
                epochs=self.epochs,
                batch=self.batch,
                generator=generator,
                progress=report,
            )


class _Classifier(FrozenClassifier):
    """A classifier that starts at the prototypes and is trained."""

    def __init__(self, pairs: Pairs, *, weight: float, scale: float) -> None:
        super().__init__(pairs, weight=weight, scale=scale)
        self.rows = self.prototypes.clone().requires_grad_()

    def loss(self, mapped: Tensor, index: Tensor) -> Tensor:
        self.prototypes = functional.normalize(self.rows)
        return super().loss(mapped, index)


def _labels(pairs: Pairs) -> NDArray[np.int64]:
    if pairs.labels is None:
        raise TransformError("head needs labels: pass them with the pairs, or take procrustes")
    return pairs.labels


def _with_means(pairs: Pairs) -> Pairs:
    """The pairs with classes counted from 0 without gaps, and the mean plain target vector of each as its prototype."""
    labels = np.unique(_labels(pairs), return_inverse=True)[1]
    rows = torch.tensor(normalise(pairs.new[0]))
    sums = torch.zeros(labels.max() + 1, rows.shape[1]).index_add_(0, torch.tensor(labels), rows).numpy()
    return Pairs(pairs.old, pairs.new, labels, sums)


def _retrieval(weights: Weights, judged: Pairs) -> float:
    """Mean average precision with query = mapped vectors, gallery = target vectors, each one's own row excluded."""
    with torch.inference_mode():
        mapped = psi(torch.tensor(judged.old[0]), weights).numpy()
    space = Space(name="target", fingerprint=fingerprint(b"target"), dim=mapped.shape[1], normalised=False)
    query, gallery = (
        Embeddings(np.arange(judged.images), side, space, judged.labels) for side in (mapped, judged.new[0])
    )
    drawn = np.random.default_rng(0).permutation(judged.images)[:QUERIES]
    return mean(average_precision(positive_ranks(query.take(drawn), gallery)))


def _half(progress: Progress, at: int) -> Progress:
    """A callback for one of two trainings that reports epochs of both."""
    return lambda epoch, epochs: progress(at * epochs + epoch, 2 * epochs)
