"""The transform of an assessment, without its verdict: choose as it does, then fit on all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from bict.assessment.candidates import FUSED, Fitted, Rows, Way, candidates, fit_way
from bict.assessment.confidence import ErrorModel
from bict.assessment.pairing import PairedVectors
from bict.assessment.parts import Parts
from bict.assessment.trial import Choice, Trial, set_apart
from bict.errors import TransformError
from bict.progress import Progress, Steps, silent
from bict.transforms.card import Ladder, RungScore


@dataclass(frozen=True, eq=False)
class Fit:
    """What an assessment's choice gives when it is fitted on all pairs but those the user set apart.

    Attributes:
        way: transform or bridge.
        errors: of a transform, what predicts how wrong an upgraded vector is; learned on pairs kept away from a fit of
            the same rung.
    """

    way: Fitted
    errors: ErrorModel | None


def fit_best(pairs: PairedVectors, name: str | None, *, seed: int = 0, progress: Progress = silent) -> Fit:
    """The named way, or the transform that is best on the choose part, fitted on all pairs but those set apart.

    Raises:
        UnknownName: no such rung or bridge.
        TransformError: it cannot be fitted on these pairs.
        DataError: too few pairs to choose by, or to learn the errors from.
    """
    pairs = with_classes(pairs)
    ways = candidates((name.removeprefix(FUSED),) if name else (), labelled=pairs.labels is not None)
    tried = ways[:1] if name else [way for way in ways if way.kind == "upgrade"]
    trial = Trial.of(pairs, None, seed=seed, steps=_counted(progress, len(tried) + 1))
    choice = trial.choose(tried)
    chosen = choice.best(tried[0].kind)
    if chosen is None:
        raise TransformError("; ".join(f"{way.name}: {note}" for way, note in choice.notes.items()))
    rows = np.flatnonzero(~set_apart(pairs, None))
    fitted = fit_way(chosen, Rows.of(pairs, rows), seed=seed, progress=silent)
    fitted.scores = _ladder(trial, choice, chosen, len(rows))
    upgrades = chosen.kind == "upgrade"
    errors = learn_errors(pairs, trial.parts, choice.fitted[chosen], seed=seed) if upgrades else None
    progress(1, 1)
    return Fit(fitted, errors)


def learn_errors(pairs: PairedVectors, parts: Parts, psi: Fitted, *, seed: int) -> ErrorModel:
    """How wrong an upgraded vector is, from a transform of the fit part and its errors on the choose part.

    Raises:
        DataError: fewer than two pairs to learn from.
    """
    fitted, held = Rows.of(pairs, parts.fit), Rows.of(pairs, parts.choose)
    return ErrorModel(seed=seed).fit(fitted.old, held.old, psi.apply(held.old), held.new)


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
    tried = [
        RungScore(
            name=way.name,
            map=score.value,
            map_interval=score.interval,
            seconds=trial.timing.get(f"fit {way.name}", 0.0),
        )
        for way, score in choice.scores.items()
    ]
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
