"""How wrong an upgraded vector is, told from the old one: what to embed again first where not all can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.stats import spearmanr

from bict.embeddings import Embeddings
from bict.errors import DataError, RunError, SettingsError
from bict.evaluation.backfill import backfilled_rows, mixed_gallery, uncertain_first
from bict.evaluation.items import require_same_items
from bict.reports.assessment import Confidence
from bict.reports.files import load_model, save_model
from bict.spaces import Space, fingerprint, require_same
from bict.transforms.directed import replace_file

Float = NDArray[np.float64]

SCHEMA: Literal[1] = 1
WEIGHTS = "error.safetensors"
CARD = "error.json"
SETTINGS = ("neighbours", "references", "directions", "penalty", "seed")
RATIOS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
DRAWS = 3
"""Random orders that the predicted one is compared with."""
CHUNK = 1024
LARGEST = 2.0
"""Distance of two unit vectors, and 1 - cosine, at most."""
LEAST = 1e-6
"""Distances and errors below it are rounding error."""
STEPS = 8
"""Of the subspace iteration: enough for directions that stand out."""


class ErrorCard(BaseModel):
    """`error.json`: what the weights beside it predict for, and how they were learned.

    Attributes:
        schema_version: of this card.
        space: of the old vectors.
        pairs: held-out pairs it was fitted on.
        digest: SHA-256 over the space, the settings, which are the other fields, and the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True)

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    space: Space
    neighbours: int
    references: int
    directions: int
    penalty: float
    seed: int
    pairs: int
    digest: str


@dataclass(eq=False)
class ErrorModel:
    """log(1 - cos(psi(x), new)) = a log d(x) + b'x + c, by ridge regression on pairs that psi was not fitted on.

    d(x) is the mean distance of the old vector to its nearest ones among those psi was fitted on, and b lies in the
    span of their principal directions; all vectors are scaled to unit length first. The first term says how new the
    item is to psi, the second of which kind the items are that psi gets wrong.

    Attributes:
        neighbours: nearest fitted vectors whose distance is averaged; one at distance 0 is the item itself and does
            not count.
        references: most fitted vectors to keep, drawn at random.
        directions: how many principal directions of them.
        penalty: of the ridge on standardised features, in multiples of the number of pairs.
        seed: of the draw.
        space_: of the old vectors.
        pairs_: how many it was fitted on.
        references_: `(references, dim)` float32.
        slope_: `(dim,)`, b.
        terms_: `(2,)`, a and c.

    Raises:
        SettingsError: a count below 1 or a penalty that is not above 0.
    """

    neighbours: int = 5
    references: int = 2000
    directions: int = 16
    penalty: float = 0.3
    seed: int = 0
    space_: Space = field(init=False, repr=False)
    pairs_: int = field(init=False, repr=False)
    references_: NDArray[np.float32] = field(init=False, repr=False)
    slope_: Float = field(init=False, repr=False)
    terms_: Float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("neighbours", "references", "directions"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} of an error model must be at least 1, found {getattr(self, name)}")
        if not 0 < self.penalty < math.inf:
            raise SettingsError(f"penalty of an error model must be above 0, found {self.penalty}")

    def fit(self, fitted: Embeddings, old: Embeddings, upgraded: Embeddings, new: Embeddings) -> Self:
        """Learn from held-out pairs how far psi is off.

        Args:
            fitted: `(rows, old_dim)` old vectors that psi was fitted on.
            old: `(pairs, old_dim)` others.
            upgraded: `(pairs, new_dim)` psi of them.
            new: `(pairs, new_dim)` the same items by the new model.

        Raises:
            DataError: nothing fitted, or fewer than two pairs.
            SpaceError: sides that are not of one space.
            VectorError: other items on one side than on another.
        """
        if not len(fitted) or len(old) < 2:
            found = f"{len(fitted)} fitted vectors and {len(old)} held-out pairs"
            raise DataError(f"found {found}, expected at least 1 and 2 to learn the error from: pass more pairs")
        require_same(fitted.space, old.space, "fitted old vectors")
        require_same_items(old, upgraded, "held-out old and upgraded vectors")
        target = np.log(np.maximum(upgrade_error(upgraded, new), LEAST))
        rng = np.random.default_rng(self.seed)
        kept = _unit(fitted.vectors[np.sort(rng.permutation(len(fitted))[: self.references])])
        self.space_, self.pairs_, self.references_ = old.space, len(old), kept.astype(np.float32)
        directions = _principal(kept, min(self.directions, old.space.dim), rng)
        coordinates = _unit(old.vectors) @ directions
        weight, bias = _ridge(np.column_stack([self._log_distance(old), coordinates]), target, self.penalty)
        self.slope_, self.terms_ = directions @ weight[1:], np.array([weight[0], bias])
        return self

    def predict(self, old: Embeddings) -> Float:
        """Expected 1 - cos(psi(x), new) of old vectors, `(rows,)` in 0 to 2; neither image nor psi is needed.

        Raises:
            SpaceError: the vectors are not of the space it was fitted for.
        """
        require_same(old.space, self.space_, "this error model predicts for old vectors")
        slope = np.concatenate([_unit(part) @ self.slope_ for part in _chunks(old)])
        logs = self.terms_[0] * self._log_distance(old) + slope + self.terms_[1]
        return np.asarray(np.exp(np.minimum(logs, math.log(LARGEST))), np.float64)

    def save(self, directory: str | Path) -> Path:
        """Write `error.safetensors`, then `error.json`, each in one step.

        Raises:
            RunError: the directory cannot be written.
        """
        directory = Path(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            replace_file(directory / WEIGHTS, save(self._state()))
        except OSError as error:
            raise RunError(f"cannot write {directory}: {error.strerror or error}: choose another place") from error
        save_model(self._card(), directory / CARD)
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read what `save` wrote and check that it is the one that was written.

        Raises:
            RunError: a file is missing, cut off, altered, or of another schema.
        """
        directory = Path(directory)
        card = load_model(ErrorCard, directory / CARD, SCHEMA)
        try:
            model = cls(**{name: getattr(card, name) for name in SETTINGS})
            state = load((directory / WEIGHTS).read_bytes())
            model.references_, model.slope_, model.terms_ = (state[name] for name in ("references", "slope", "terms"))
        except (OSError, SafetensorError, KeyError, SettingsError) as error:
            raise RunError(f"{directory} holds no whole error model ({error}): restore it, or fit again") from error
        model.space_, model.pairs_ = card.space, card.pairs
        if model._card() != card:
            raise RunError(f"{directory} was altered: its weights or settings do not match the digest of {CARD}")
        return model

    def _log_distance(self, old: Embeddings) -> Float:
        references = _unit(self.references_)
        nearest = min(self.neighbours, len(references))
        means = []
        for part in _chunks(old):
            squared = 2 - 2 * _unit(part) @ references.T
            squared[squared < LEAST**2] = LARGEST**2
            means.append(np.sqrt(np.partition(squared, nearest - 1, axis=1)[:, :nearest]).mean(axis=1))
        return np.asarray(np.log(np.concatenate(means)), np.float64)

    def _state(self) -> dict[str, NDArray[np.float32] | Float]:
        return {"references": self.references_, "slope": self.slope_, "terms": self.terms_}

    def _card(self) -> ErrorCard:
        settings: dict[str, Any] = {name: getattr(self, name) for name in SETTINGS}
        card = ErrorCard(**settings, space=self.space_, pairs=self.pairs_, digest="")
        parts = [card.model_dump_json().encode()]
        for name, array in self._state().items():
            parts += [repr((name, array.dtype.str, array.shape)).encode(), array.tobytes()]
        return card.model_copy(update={"digest": fingerprint(*parts)})


def upgrade_error(upgraded: Embeddings, new: Embeddings) -> Float:
    """1 - cos(psi(old), new) of each item, `(rows,)` in 0 to 2.

    Raises:
        SpaceError: psi maps into another space than the new model's.
        VectorError: not the same items in the same order.
    """
    require_same(upgraded.space, new.space, "upgraded vectors")
    require_same_items(upgraded, new, "upgraded and new vectors")
    sides = zip(_chunks(upgraded), _chunks(new), strict=True)
    cosines = [np.einsum("ij,ij->i", _unit(first), _unit(second)) for first, second in sides]
    return np.asarray(1 - np.concatenate(cosines), np.float64)


def confidence_curve(
    predicted: Float,
    *,
    query: Embeddings,
    upgraded: Embeddings,
    new: Embeddings,
    score: Callable[[Embeddings, Embeddings], float],
    seed: int,
) -> Confidence:
    """What it gives to embed the rows of the largest predicted error again first, rather than any.

    New queries search a gallery of upgraded vectors, a share of which is replaced by the new model's own: rows in
    falling order of the prediction, as FastFill replaces them (Jaeckle et al., ICLR 2023, arXiv 2303.04766), or in
    random order, mean of three draws. Both curves start and end at one point.

    Args:
        predicted: `(rows,)` expected error of each gallery row, in any unit.
        query: `(queries, dim)` by the new model.
        upgraded: `(rows, dim)` gallery, psi of old vectors that psi was not fitted on.
        new: `(rows, dim)` the same items by the new model.
        score: of a query set against a gallery, such as the mean average precision.
        seed: of the random orders.

    Returns:
        Both curves, and the rank correlation (Spearman, 1904) of predicted with true error: NaN where one is constant.

    Raises:
        DataError: not one prediction for each row, or a NaN.
        SpaceError: upgraded vectors of another space than the new ones.
        VectorError: not the same items in the same order.
    """
    error, rng = upgrade_error(upgraded, new), np.random.default_rng(seed)
    if predicted.shape != error.shape:
        raise DataError(f"found predictions of shape {predicted.shape}, expected one for each of {len(error)} rows")
    orders = [uncertain_first(predicted), *(rng.permutation(len(error)) for _ in range(DRAWS))]

    def curve(order: NDArray[np.int64]) -> list[float]:
        masks = [backfilled_rows(order, ratio) for ratio in RATIOS[1:-1]]
        return [score(query, mixed_gallery(upgraded, new, mask)) for mask in masks]

    ends = score(query, upgraded), score(query, new)
    first, *others = (curve(order) for order in orders)
    return Confidence(
        rank_correlation=_rank_correlation(predicted, error),
        ratios=RATIOS,
        predicted_first=(ends[0], *first, ends[1]),
        random=(ends[0], *np.mean(others, axis=0).tolist(), ends[1]),
    )


def _rank_correlation(predicted: Float, error: Float) -> float:
    if np.ptp(predicted) == 0 or np.ptp(error) <= LEAST:
        return math.nan
    return float(spearmanr(predicted, error).statistic)


def _chunks(embeddings: Embeddings) -> Iterator[NDArray[np.float32]]:
    """The vectors, some rows at a time, and one empty part where there are none."""
    for start in range(0, max(len(embeddings), 1), CHUNK):
        yield embeddings.vectors[start : start + CHUNK]


def _unit(vectors: NDArray[np.float32]) -> Float:
    exact = vectors.astype(np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=1, keepdims=True), np.float64)


def _principal(vectors: Float, number: int, rng: np.random.Generator) -> Float:
    """`(dim, number)` orthonormal directions in which rows vary most, by subspace iteration (Bauer, 1957)."""
    centred = vectors - vectors.mean(axis=0)
    directions = rng.normal(size=(vectors.shape[1], number))
    for _ in range(STEPS):
        directions, _ = np.linalg.qr(centred.T @ (centred @ directions))
    return directions


def _ridge(features: Float, target: Float, penalty: float) -> tuple[Float, float]:
    """Weight `(features,)` and bias of a ridge on standardised features; one that is constant gets no weight."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > LEAST, scale, np.inf)
    centred = (features - mean) / scale
    within = centred.T @ centred + penalty * len(target) * np.eye(len(mean))
    weight = np.linalg.solve(within, centred.T @ (target - target.mean())) / scale
    return weight, float(target.mean() - mean @ weight)
