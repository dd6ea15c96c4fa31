"""A chain of upgrades: four generations of models, and a gallery that grows at every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bict.data import ImageSet, draw_splits
from bict.embeddings import Embeddings
from bict.evaluation import CompatibilityMatrix, PairResult, evaluate_pair
from bict.experiments.methods import Method
from bict.experiments.scenarios import ScenarioPlan
from bict.experiments.serving import as_seen
from bict.experiments.workshop import Workshop
from bict.models import Model
from bict.training import TrainSettings
from bict.transforms import Transform

SHARES = (0.25, 0.5, 0.75, 1.0)
BACKBONES = ("conv-small", "conv-base", "conv-base", "conv-wide")
RUNG = "mlp"
State = Callable[[int, int], Embeddings]
"""Vectors of the whole gallery that one generation wrote, as a later generation meets them."""


@dataclass(frozen=True)
class Chain:
    """Generation 1 is trained alone, each later one backward compatible with the one before, on more classes.

    The gallery is written once, by generation 1, or a quarter of it is added by each generation. Then each generation's
    queries meet it in four states: `fixed`, as it was written; `composed`, everything stored carried on by each
    upgrade's transform; `refitted`, carried from the vectors a model wrote by one transform that is fitted for it; and
    `backfill`, embedded anew.
    """

    workshop: Workshop
    plan: ScenarioPlan
    method: Method

    @cached_property
    def parts(self) -> list[ImageSet]:
        """Training images of each generation, each a subset of the next."""
        images, found = self.workshop.images, []
        for share in SHARES:
            split = self.plan.split.model_copy(update={"scenario": "extended-class", "old_share": share})
            found.append(images.take(draw_splits(images, split).old_train))
        return found

    @cached_property
    def models(self) -> list[Model]:
        """The model of each generation."""
        found: list[Model] = []
        for number, images in enumerate(self.parts):
            old = found[-1] if found else None
            found.append(
                self.workshop.model(f"generation-{number + 1}", self._settings(number), old=old, images=images)
            )
        return found

    def _settings(self, number: int) -> TrainSettings:
        base = {**self.plan.new.model_dump(), **self.method.new}
        if self.workshop.images.kind == "characters":
            base["backbone"] = BACKBONES[number]
        return TrainSettings.model_validate(base)

    def transform(self, old: int, new: int) -> Transform:
        """From one generation's space to a later one's, fitted on the later one's training images."""
        return self.workshop.transform(self.models[old], self.models[new], [RUNG], on=self.parts[new])

    def pairs(self) -> list[PairResult]:
        """Every generation's queries against every state of both galleries, named `GALLERY STATE generation N`."""
        states: dict[str, State] = {
            "fixed": self.fixed,
            "composed": self.composed,
            "refitted": self.refitted,
            "backfill": self.backfill,
        }
        found = []
        for gallery, origins in (("once", self._written_once), ("growing", self._growing)):
            for number in range(len(self.models)):
                query = self.workshop.vectors(self.models[number], "query")
                for state, vectors in states.items():
                    found.append(
                        evaluate_pair(
                            query,
                            _mixed(origins(number), vectors, number),
                            name=f"{gallery} {state} {number + 1}",
                            query_name=f"generation {number + 1}",
                            gallery_name=f"{gallery}, {state}",
                        )
                    )
        return found

    def matrix(self) -> CompatibilityMatrix:
        """The mAP of every generation's queries against the vectors of every generation before it."""
        size = len(self.models)
        scores = np.full((size, size), np.nan)
        for row in range(size):
            query = self.workshop.vectors(self.models[row], "query")
            for column in range(row + 1):
                stored = as_seen(self._gallery(column), query.space, declared=False)
                pair = evaluate_pair(query, stored, name="cell", query_name="later", gallery_name="earlier")
                scores[row, column] = pair.scores["map"]
        return CompatibilityMatrix(scores)

    def fixed(self, origin: int, number: int) -> Embeddings:
        """What generation `origin` wrote, as queries of a later one meet it."""
        return as_seen(self._gallery(origin), self.models[number].space, declared=False)

    def composed(self, origin: int, number: int) -> Embeddings:
        """Carried on by the transform of each upgrade since."""
        vectors = self._gallery(origin)
        for step in range(origin, number):
            vectors = self.transform(step, step + 1).apply(vectors)
        return vectors

    def refitted(self, origin: int, number: int) -> Embeddings:
        """Carried from what was written by one transform."""
        vectors = self._gallery(origin)
        return vectors if origin == number else self.transform(origin, number).apply(vectors)

    def backfill(self, origin: int, number: int) -> Embeddings:
        """Embedded anew."""
        del origin
        return self._gallery(number)

    def _gallery(self, number: int) -> Embeddings:
        return self.workshop.vectors(self.models[number], "gallery")

    def _written_once(self, number: int) -> NDArray[np.int64]:
        del number
        return np.zeros(len(self._gallery(0)), np.int64)

    def _growing(self, number: int) -> NDArray[np.int64]:
        """Which generation wrote each row, -1 for rows that come later."""
        rows = np.random.default_rng(self.plan.seed).permutation(len(self._gallery(0)))
        origins = rows * len(self.models) // len(rows)
        return np.where(origins <= number, origins, -1)


def _mixed(origins: NDArray[np.int64], vectors: State, number: int) -> Embeddings:
    """Each row's vector by the generation that wrote it; rows of later ones are left out."""
    parts = [
        (np.flatnonzero(origins == origin), vectors(int(origin), number)) for origin in np.unique(origins[origins >= 0])
    ]
    rows = np.concatenate([rows for rows, _ in parts])
    stacked = np.concatenate([some.vectors[rows] for rows, some in parts])
    order, first = np.argsort(rows), parts[0][1]
    labels = None if first.labels is None else first.labels[np.sort(rows)]
    return Embeddings(first.ids[np.sort(rows)], stacked[order], first.space, labels)
