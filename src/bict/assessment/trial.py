"""Pairs in three parts, and every way to serve fitted, chosen between and judged on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bict.assessment.candidates import BACKFILL, FUSED, OLD, Fitted, Rows, Way, fit_way, fusible
from bict.assessment.estimates import Float
from bict.assessment.judge import Judge
from bict.assessment.pairing import PairedVectors
from bict.assessment.parts import LEAST_ROWS, Parts, split_parts
from bict.assessment.relevance import RelevancePairs
from bict.errors import DataError, TransformError
from bict.progress import Progress, Steps, silent, silent_steps
from bict.reports.assessment import CurvePoint, Estimate, Kind

QUERIES = 1000
"""Most queries of the judge part."""
CURVE = (1 / 8, 1 / 4, 1 / 2)
"""Shares of the pairs at which the learning curve is measured, besides all."""


def set_apart(pairs: PairedVectors, relevance: RelevancePairs | None) -> NDArray[np.bool_]:
    """`(pairs,)` which rows the user named as queries and gallery; none where too few would be left to fit on.

    Raises:
        DataError: a split names queries and no gallery, or a gallery and no queries.
    """
    held = np.zeros(len(pairs.ids), np.bool_)
    if pairs.split is not None:
        named = [name for name in ("query", "gallery") if (pairs.split == name).any()]
        if len(named) == 1 and relevance is None:
            found = ", ".join(sorted(map(repr, np.unique(pairs.split).tolist()))[:5])
            raise DataError(
                f"the split names no {'gallery' if named == ['query'] else 'query'} (found {found}): name both"
            )
        held |= np.isin(pairs.split, ("query", "gallery"))
    if relevance is not None:
        held |= np.isin(pairs.ids, np.concatenate([relevance.query_ids, relevance.item_ids]))
    return held if (~held).sum() >= LEAST_ROWS else np.zeros_like(held)


def divide(pairs: PairedVectors, relevance: RelevancePairs | None, seed: int) -> Parts:
    """Fit, choose and judge parts; rows that the user set apart as queries and gallery are the judge part.

    Where nothing is set apart, or nothing else is left to fit on, the parts are drawn. Beside relevance pairs the judge
    part also holds the rows that would be drawn for it, as a gallery to get lost in.

    Raises:
        DataError: too few pairs.
    """
    held = set_apart(pairs, relevance)
    rest = np.flatnonzero(~held)
    if not held.any():
        return split_parts(pairs.labels, len(pairs.ids), seed=seed)
    inner = split_parts(None if pairs.labels is None else pairs.labels[rest], len(rest), seed=seed)
    fit, judge = rest[inner.fit], np.flatnonzero(held)
    if relevance is None:
        fit = np.union1d(fit, rest[inner.judge])
    else:
        judge = np.union1d(judge, rest[inner.judge])
    return Parts(fit=fit, choose=rest[inner.choose], judge=judge, by=inner.by)


def judge_part(
    pairs: PairedVectors, parts: Parts, relevance: RelevancePairs | None, most_queries: int, seed: int
) -> Judge:
    """The judge of the judge part, with so many queries at most.

    Raises:
        DataError: nothing to judge on.
    """
    split = None if pairs.split is None else pairs.split[parts.judge]
    return Judge.of(Rows.of(pairs, parts.judge), split, pairs=relevance, most_queries=most_queries, seed=seed)


def oddities(pairs: PairedVectors, relevance: RelevancePairs | None, parts: Parts) -> list[str]:
    """What about the split, the relevance pairs or the classes makes a verdict less than it seems."""
    said = []
    if pairs.split is not None and not set_apart(pairs, relevance).any():
        found = ", ".join(sorted(map(repr, np.unique(pairs.split)))[:5])
        why = (
            "leaves fewer than 20 rows to fit on" if np.isin(pairs.split, ("query", "gallery")).any() else "names none"
        )
        said.append(f"the split ({found}) {why}: which rows are fitted and which judged is drawn")
    if relevance is not None and relevance.left_out:
        said.append(f"{relevance.left_out} relevance pairs name an id that is not among the vectors, and are left out")
    if pairs.labels is not None:
        judged, fitted = (np.unique(pairs.labels[rows]) for rows in (parts.judge, np.union1d(parts.fit, parts.choose)))
        shared = len(np.intersect1d(judged, fitted))
        if shared:
            said.append(
                f"{shared} of {len(judged)} judged classes were fitted, too: the verdict is of new items of known ones"
            )
    return said


@dataclass(frozen=True)
class Choice:
    """How each way did on the choose part, fitted on the fit part, and why others could not be fitted."""

    scores: dict[Way, Estimate]
    notes: dict[Way, str]
    fitted: dict[Way, Fitted]

    def best(self, kind: Kind) -> Way | None:
        """The way of a kind with the highest score, the first of equals."""
        found = [way for way in self.scores if way.kind == kind]
        return max(found, key=lambda way: self.scores[way].value, default=None)


@dataclass(frozen=True)
class Judged:
    """Old, backfill and every way on the judge part.

    Attributes:
        scores: `(queries,)` by measure.
        gaps: how far scores of items that do not match lie from those of old, 0 to 1.
        fitted: what was fitted, of the ways that are.
    """

    scores: dict[Way, dict[str, Float]] = field(default_factory=dict)
    gaps: dict[Way, float] = field(default_factory=dict)
    fitted: dict[Way, Fitted] = field(default_factory=dict)


@dataclass(eq=False)
class Trial:
    """One assessment under way.

    Attributes:
        pairs: all of them.
        relevance: which items a query should find, in the place of labels.
        parts: of the pairs.
        choosing: the judge of the choose part.
        judging: the judge of the judge part.
        seed: of everything drawn.
        steps: told how far it is.
        timing: seconds by name, of fits and of judging.
    """

    pairs: PairedVectors
    relevance: RelevancePairs | None
    parts: Parts
    choosing: Judge
    judging: Judge
    seed: int
    steps: Steps = silent_steps
    timing: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: PairedVectors, relevance: RelevancePairs | None, *, seed: int, steps: Steps) -> Trial:
        """Divide the pairs and set the judges.

        Raises:
            DataError: too few pairs, or nothing to judge on.
        """
        parts = divide(pairs, relevance, seed)
        choosing = Judge.of(Rows.of(pairs, parts.choose), None, seed=seed)
        judging = judge_part(pairs, parts, relevance, QUERIES, seed)
        return cls(pairs, relevance, parts, choosing, judging, seed, steps)

    def quick_judge(self) -> Judge:
        """The judge part with few queries, for curves that are made of many scores."""
        return judge_part(self.pairs, self.parts, self.relevance, QUERIES // 5, self.seed)

    def choose(self, ways: list[Way]) -> Choice:
        """Fit each way on the fit part and score it on the choose part."""
        choice = Choice({}, {}, {})
        rows = Rows.of(self.pairs, self.parts.fit)
        for way in ways:
            with self.steps(f"try {way.name}") as progress:
                try:
                    fitted = self._fit(way, rows, progress)
                    with self._timed("choose"):
                        scores = self.choosing.score(*self.choosing.sides.serve(way, fitted))
                    choice.scores[way] = self.choosing.bootstrap.mean(scores["map"])
                    choice.fitted[way] = fitted
                except TransformError as error:
                    choice.notes[way] = f"skipped: {error}"
                progress(1, 1)
        return choice

    def judge(self, choice: Choice) -> Judged:
        """Score every way on the judge part; the best upgrade and bridge are fitted again, on the choose part, too."""
        rows, judged, upgrade = self._kept(), Judged(), choice.best("upgrade")
        again = upgrade, choice.best("bridge")
        self._judge(judged, OLD, None)
        self._judge(judged, BACKFILL, None)
        for way, fitted in choice.fitted.items():
            with self.steps(f"judge {way.name}") as progress:
                judged.fitted[way] = self._fit(way, rows, progress) if way in again else fitted
                self._judge(judged, way, judged.fitted[way])
                progress(1, 1)
        if upgrade is not None and fusible(self.pairs):
            self._judge(judged, Way(f"{FUSED}{upgrade.rung}", "fuse", upgrade.rung), judged.fitted[upgrade])
        return judged

    def _judge(self, judged: Judged, way: Way, fitted: Fitted | None) -> None:
        with self._timed("judge"):
            served = self.judging.sides.serve(way, fitted)
            judged.scores[way] = self.judging.score(*served)
            judged.gaps[way] = self.judging.gap(*served, seed=self.seed)

    def curve(self, way: Way, judged: Judged) -> list[CurvePoint]:
        """Gain of a way, and what it would be were it fitted on fewer pairs, drawn at random."""
        rows, points = Rows.of(self.pairs, self.parts.fit) if way.kind == "head" else self._kept(), []
        order = np.random.default_rng(self.seed).permutation(len(rows))
        with self.steps("learning curve") as progress:
            for at, share in enumerate(CURVE, 1):
                drawn = np.sort(order[: round(share * len(rows))])
                try:
                    fitted = self._fit(way, rows.take(drawn), silent)
                    points.append(self._point(len(drawn), self._scores(way, fitted), judged))
                except TransformError:  # too few pairs for this way: the curve begins later
                    pass
                progress(at, len(CURVE))
        return [*points, self._point(len(rows), judged.scores[way], judged)]

    def _point(self, pairs: int, scores: dict[str, Float], judged: Judged) -> CurvePoint:
        return CurvePoint(pairs=pairs, gain=self.judging.bootstrap.mean(scores["map"] - judged.scores[OLD]["map"]))

    def _kept(self) -> Rows:
        return Rows.of(self.pairs, np.union1d(self.parts.fit, self.parts.choose))

    def _fit(self, way: Way, rows: Rows, progress: Progress) -> Fitted:
        with self._timed(f"fit {way.name}"):
            return fit_way(way, rows, seed=self.seed, progress=progress)

    def _scores(self, way: Way, fitted: Fitted) -> dict[str, Float]:
        with self._timed("judge"):
            return self.judging.score(*self.judging.sides.serve(way, fitted))

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to a name."""
        began = time.perf_counter()
        yield
        self.timing[name] = round(self.timing.get(name, 0.0) + time.perf_counter() - began, 3)
