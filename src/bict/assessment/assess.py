"""From paired vectors to a verdict: fit every way to serve, choose between them, judge the choice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bict.assessment.candidates import BACKFILL, OLD, Sides, Way, candidates
from bict.assessment.confidence import confidence_curve
from bict.assessment.decision import Decision, Facts, decide, more_pairs
from bict.assessment.fit import learn_errors, with_classes
from bict.assessment.pairing import PairedVectors
from bict.assessment.preflight import gram_agreement
from bict.assessment.relevance import RelevancePairs
from bict.assessment.threshold import carry_threshold
from bict.assessment.trial import Choice, Judged, Trial, oddities
from bict.progress import Steps, silent_steps
from bict.reports.assessment import Candidate, Confidence, CurvePoint, Estimate, Measure, Preflight, Threshold


@dataclass(frozen=True, eq=False)
class Findings:
    """What an assessment found; candidates from old over every way to backfill."""

    decision: Decision
    candidates: list[Candidate]
    curve: list[CurvePoint]
    preflight: Preflight
    threshold: Threshold | None
    confidence: Confidence | None
    measure: Measure
    warnings: list[str]
    counts: dict[str, int]
    timing: dict[str, float]


def assess_pairs(
    pairs: PairedVectors,
    *,
    relevance: RelevancePairs | None = None,
    names: tuple[str, ...] = (),
    threshold: float | None = None,
    seed: int = 0,
    steps: Steps = silent_steps,
) -> Findings:
    """Fit the ladder and the bridges on a part of the pairs, choose on another, and judge on a third.

    Args:
        pairs: both models' vectors of the same items.
        relevance: which items a query should find, in the place of labels.
        names: rungs and bridges to try; the ladder and all bridges by default.
        threshold: match threshold of the old system, to be carried over.
        seed: of the parts, the queries, the resampling and what a rung draws.
        steps: told how far each step is.

    Raises:
        DataError: too few pairs, or nothing to judge on.
        UnknownName: a rung there is not.
        SettingsError: a threshold out of range.
    """
    pairs = with_classes(pairs)
    with steps("pre-flight") as progress:
        preflight = gram_agreement(pairs.old, pairs.new, seed=seed)
        trial = Trial.of(pairs, relevance, seed=seed, steps=steps)
        progress(1, 1)
    choice = trial.choose(candidates(names, labelled=pairs.labels is not None))
    judged = trial.judge(choice)
    lines = _lines(trial, choice, judged)
    decision = decide(_facts(trial, choice, judged, lines))
    best = choice.best("upgrade")
    followed = next((way for way in choice.scores if way.name == decision.chosen), best)
    curve = [] if followed is None else trial.curve(followed, judged)
    said = more_pairs(curve, decision)
    return Findings(
        decision=replace(decision, reasons=[*decision.reasons, *([said] if said else [])]),
        candidates=lines,
        curve=curve,
        preflight=preflight,
        threshold=_threshold(trial, judged, followed, threshold),
        confidence=_confidence(trial, choice, best),
        measure=trial.judging.measure,
        warnings=oddities(pairs, relevance, trial.parts),
        counts=_counts(trial),
        timing=trial.timing,
    )


def _lines(trial: Trial, choice: Choice, judged: Judged) -> list[Candidate]:
    """All candidates; those that were skipped stand before the backfill."""
    found = [_line(trial, choice, judged, way) for way in judged.scores if way != BACKFILL]
    skipped = [Candidate(name=way.name, kind=way.kind, choice=np.nan, note=note) for way, note in choice.notes.items()]
    return [*found, *skipped, _line(trial, choice, judged, BACKFILL)]


def _line(trial: Trial, choice: Choice, judged: Judged, way: Way) -> Candidate:
    old, backfill, scores = judged.scores[OLD], judged.scores[BACKFILL], judged.scores[way]
    mean, change = trial.judging.bootstrap.mean, scores["map"] - old["map"]
    turned = scores["recall@1"] - old["recall@1"]
    group, worst = trial.judging.worst_group(change)
    return Candidate(
        name=way.name,
        kind=way.kind,
        choice=choice.scores[way].value if way in choice.scores else np.nan,
        map=mean(scores["map"]),
        recall_at_1=mean(scores["recall@1"]),
        recall_at_10=mean(scores["recall@10"]),
        gain=mean(change),
        recovered_share=trial.judging.bootstrap.ratio(change, backfill["map"] - old["map"]),
        negative_flip_rate=mean(np.maximum(-turned, 0)),
        positive_flip_rate=mean(np.maximum(turned, 0)),
        score_gap=judged.gaps[way],
        worst_group=group,
        worst_change=worst,
        seconds=trial.timing.get(f"fit {way.name}", 0.0),
    )


def _facts(trial: Trial, choice: Choice, judged: Judged, lines: list[Candidate]) -> Facts:
    named = {line.name: line for line in lines}
    upgrade, head, control = choice.best("upgrade"), choice.best("head"), choice.best("control")

    def over(one: Way | None, other: Way | None) -> Estimate | None:
        if one is None or other is None:
            return None
        return trial.judging.bootstrap.mean(judged.scores[one]["map"] - judged.scores[other]["map"])

    def line(way: Way | None) -> Candidate | None:
        return None if way is None else named[way.name]

    return Facts(
        measure=trial.judging.measure,
        old=named[OLD.name],
        backfill=named[BACKFILL.name],
        upgrade=line(upgrade),
        bridge=line(choice.best("bridge")),
        head=line(head),
        control=line(control),
        fuse=line(next((way for way in judged.scores if way.kind == "fuse"), None)),
        over_upgrade={way.name: over(way, upgrade) for way in judged.scores},
        head_over_control=over(head, control),
        first_hits={
            way.name: trial.judging.bootstrap.mean(scores["recall@1"] - judged.scores[OLD]["recall@1"])
            for way, scores in judged.scores.items()
        },
    )


def _threshold(trial: Trial, judged: Judged, way: Way | None, threshold: float | None) -> Threshold | None:
    """Carried over to the way that is followed, on the judge part's gallery."""
    if threshold is None or way is None:
        return None
    rows = trial.judging.sides.gallery
    asked, stored = Sides(rows, rows).serve(way, judged.fitted[way])
    return carry_threshold(threshold, old=rows.old, upgraded=stored, new=asked, seed=trial.seed)


def _confidence(trial: Trial, choice: Choice, best: Way | None) -> Confidence | None:
    """Learned on the choose part from a transform of the fit part, judged on the judge part."""
    if best is None:
        return None
    with trial.steps("confidence") as progress:
        psi, judge = choice.fitted[best], trial.quick_judge()
        query, gallery = judge.sides.query, judge.sides.gallery
        found = confidence_curve(
            learn_errors(trial.pairs, trial.parts, psi, seed=trial.seed).predict(gallery.old),
            query=query.new,
            upgraded=psi.apply(gallery.old),
            new=gallery.new,
            score=lambda asked, stored: float(np.nanmean(judge.score(asked, stored)["map"])),
            seed=trial.seed,
        )
        progress(1, 1)
    return found


def _counts(trial: Trial) -> dict[str, int]:
    parts = {name: len(getattr(trial.parts, name)) for name in ("fit", "choose", "judge")}
    sides = trial.judging.sides
    return {**trial.pairs.counts, **parts, "queries": len(sides.query), "gallery": len(sides.gallery)}
