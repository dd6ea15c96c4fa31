"""The transform of an assessment, without its verdict: choose as it does, then fit on all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import numpy as np

from bict.assessment.candidates import Fitted, Rows, Way, candidates, fit_way
from bict.assessment.pairing import PairedVectors
from bict.assessment.trial import Choice, Trial
from bict.errors import TransformError
from bict.progress import Progress, Steps, silent
from bict.transforms.card import Ladder, RungScore


def fit_best(pairs: PairedVectors, name: str | None, *, seed: int = 0, progress: Progress = silent) -> Fitted:
    """The named way, or the transform that is best on the choose part, fitted on all pairs.

    Raises:
        UnknownName: no such rung or bridge.
        TransformError: it cannot be fitted on these pairs.
        DataError: too few pairs to choose by.
    """
    pairs = with_classes(pairs)
    ways = candidates((name,) if name else (), labelled=pairs.labels is not None)
    scores = None
    if name is None:
        upgrades = [way for way in ways if way.kind == "upgrade"]
        trial = Trial.of(pairs, None, seed=seed, steps=_counted(progress, len(upgrades) + 1))
        choice = trial.choose(upgrades)
        chosen = choice.best("upgrade")
        if chosen is None:
            raise TransformError(f"no rung could be fitted: {'; '.join(choice.notes.values())}")
        ways, scores = [chosen], _ladder(trial, choice, chosen, len(pairs.ids))
    fitted = fit_way(ways[0], Rows.of(pairs, np.arange(len(pairs.ids))), seed=seed, progress=silent)
    fitted.scores = scores
    progress(1, 1)
    return fitted


def with_classes(pairs: PairedVectors) -> PairedVectors:
    """The pairs, without labels that do not tell two classes apart."""
    if pairs.labels is not None and len(np.unique(pairs.labels)) < 2:
        return replace(pairs, labels=None)
    return pairs


def _counted(progress: Progress, total: int) -> Steps:
    """Steps as one bar that goes on when each of so many is done."""
    done = count(1)

    @contextmanager
    def step(_name: str) -> Iterator[Progress]:
        yield silent
        progress(next(done), total)

    return step


def _ladder(trial: Trial, choice: Choice, chosen: Way, pairs: int) -> Ladder:
    tried = [RungScore(name=way.name, map=score) for way, score in choice.scores.items()]
    tried += [RungScore(name=way.name, note=note) for way, note in choice.notes.items()]
    return Ladder(
        chosen=chosen.name,
        measure="map" if trial.pairs.labels is not None else "neighbour_map",
        pairs=pairs,
        views=1,
        held_out_classes=None,
        held_out_images=len(trial.parts.choose),
        queries=len(trial.choosing.sides.query),
        rungs=tuple(tried),
    )
