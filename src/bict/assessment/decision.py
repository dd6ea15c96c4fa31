"""The verdict: which way to serve is worth it, and the numbers that decide it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bict.reports import numbers
from bict.reports.assessment import Answer, Candidate, CurvePoint, Estimate, Measure, per_doubling

CLEARLY_ADDS = 0.1
"""Least part of the way from upgraded to backfill that keeping the old vectors must add: it doubles what is stored and
asks two models for every query."""
MOST_DOUBLINGS = 6
"""Farther than this many doublings of the pairs a learning curve is not continued."""


@dataclass(frozen=True)
class Facts:
    """What the verdict is made from; every gain is of mean average precision, with its paired interval.

    Attributes:
        measure: where relevance comes from; under the new model's own neighbours the new model cannot lose.
        old: the old model on both sides.
        backfill: the new model on both sides; its gain says whether the new model is better here.
        upgrade: the best transform of the choose part; None where none could be fitted.
        bridge: the best bridge of the choose part, the same.
        head: the bridge that learned the labels, or None.
        control: the same head on the old model's own queries, or None.
        fuse: upgrade and old vectors together, or None.
        over_upgrade: gain of each way over the upgrade, by name; None without an upgrade.
        head_over_control: gain of the head over its control, or None.
        first_hits: change of recall@1 against old, by name of a way.
    """

    measure: Measure
    old: Candidate
    backfill: Candidate
    upgrade: Candidate | None
    bridge: Candidate | None
    head: Candidate | None
    control: Candidate | None
    fuse: Candidate | None
    over_upgrade: dict[str, Estimate | None]
    head_over_control: Estimate | None
    first_hits: dict[str, Estimate]


@dataclass(frozen=True)
class Decision:
    """The answer, the way it chose, and a sentence for each number that decided."""

    verdict: Answer
    chosen: str
    reasons: list[str]


def decide(facts: Facts) -> Decision:
    """Above zero means above zero with the whole interval.

    `stay`: the new model is not better. Else `upgrade` or `bridge`: the way whose gain over old is above zero, the
    bridge only where the upgrade's is not or where it is better than the upgrade. `fuse`: the upgrade wins, and both
    vectors add to it. Else `re-embed`. A head that learned the labels counts as a bridge only where it is better than
    the same head on the old model: else the labels did it, and no new model is needed for that.
    """
    reasons = [_better(facts)]
    if facts.measure != "new model's neighbours" and not above_zero(facts.backfill.gain):
        return Decision("stay", "old", [*reasons, *_labels(facts)])
    upgrade, bridge = facts.upgrade, _bridge(facts)
    reasons += [_gain(one) for one in (upgrade, bridge) if one is not None]
    reasons += _labels(facts)
    upgrades, bridges = (one is not None and above_zero(one.gain) for one in (upgrade, bridge))
    if bridge is not None and bridges and (not upgrades or above_zero(facts.over_upgrade[bridge.name])):
        if upgrades:
            reasons.append(f"{bridge.name} beats the upgrade by {signed(facts.over_upgrade[bridge.name])} mAP.")
        return Decision("bridge", bridge.name, [*reasons, *_first_hit(facts, bridge)])
    if upgrade is None or not upgrades:
        return Decision("re-embed", "backfill", [*reasons, *_instead(facts)])
    if facts.fuse is not None and _clearly_adds(facts, facts.fuse, upgrade):
        adds = signed(facts.over_upgrade[facts.fuse.name])
        reasons.append(f"Keeping the old vectors beside and asking both models adds {adds} mAP.")
        return Decision("fuse", facts.fuse.name, reasons)
    reasons.append(f"Embedding the gallery again would give {value(facts.backfill.map)}.")
    return Decision("upgrade", upgrade.name, [*reasons, *_first_hit(facts, upgrade)])


def _first_hit(facts: Facts, chosen: Candidate) -> list[str]:
    """A better ranking can still have a worse first hit, as where a gallery holds near copies of its queries."""
    change, fuse = facts.first_hits[chosen.name], facts.fuse
    if not change.interval[1] < 0:
        return []
    said = f"But the first hit is right for fewer queries: recall@1 changes by {signed(change)}"
    if fuse is not None and not facts.first_hits[fuse.name].interval[1] < 0:
        return [f"{said}; {fuse.name}, with the old vectors kept, changes it by {signed(facts.first_hits[fuse.name])}."]
    return [f"{said}."]


def _bridge(facts: Facts) -> Candidate | None:
    """The best bridge of the choose part; the head among them where it is better than its control."""
    head = facts.head if above_zero(facts.head_over_control) else None
    return max((one for one in (facts.bridge, head) if one is not None), key=lambda one: one.choice, default=None)


def _labels(facts: Facts) -> list[str]:
    """What the labels alone give, where that is something."""
    head, control = facts.head, facts.control
    if head is None or control is None or not (above_zero(control.gain) or above_zero(head.gain)):
        return []
    said = (
        f"A head that learned the labels, on the old model's own queries, gives {value(control.map)}; on new queries "
    )
    said += f"{value(head.map)}"
    if above_zero(facts.head_over_control):
        return [f"{said}: the new model adds {signed(facts.head_over_control)}."]
    if above_zero(control.gain):
        return [f"{said}: that gain comes from the labels, and needs no new model."]
    return [f"{said}: not clearly more, {signed(facts.head_over_control)}, so it is not credited to the new model."]


def _instead(facts: Facts) -> list[str]:
    said = [f"No map by itself is shown to beat the old model: embedding again would give {value(facts.backfill.map)}."]
    if facts.fuse is not None and above_zero(facts.fuse.gain):
        said.append(
            f"Only asking both models, with old and upgraded vectors kept, beats the old model: {facts.fuse.name}, "
            f"{signed(facts.fuse.gain)} mAP."
        )
    return said


def more_pairs(curve: Sequence[CurvePoint], decision: Decision) -> str:
    """What more pairs would change, from the last doubling of the learning curve; empty without a curve.

    The gain is taken to grow by as much with each further doubling, which flatters: real curves flatten.
    """
    slope = per_doubling(curve)
    if slope is None or not math.isfinite(slope) or decision.verdict == "stay":
        return ""
    before, last = curve[-2], curve[-1]
    said = f"From {before.pairs:,} to {last.pairs:,} pairs the gain went from {numbers.signed(before.gain.value)} to "
    said += f"{numbers.signed(last.gain.value)} mAP"
    if decision.verdict != "re-embed":
        return f"{said}: {'more pairs would help' if slope > 0.002 else 'more pairs would change little'}."
    needed = -last.gain.interval[0] / slope if slope > 0 else math.inf
    if needed > MOST_DOUBLINGS:
        return f"{said}: more pairs alone would not change the verdict."
    wanted = max(last.pairs * 2**needed, last.pairs * 1.1)
    digits = 10 ** (math.floor(math.log10(wanted)) - 1)
    return f"{said}: about {math.ceil(round(wanted / digits, 6)) * digits:,} pairs might change the verdict."


def above_zero(estimate: Estimate | None) -> bool:
    """Whether the whole interval is."""
    return estimate is not None and estimate.interval[0] > 0


def value(estimate: Estimate | None) -> str:
    """Three digits and the interval."""
    return numbers.MISSING if estimate is None else _with_interval(estimate, numbers.score)


def signed(estimate: Estimate | None) -> str:
    """Three digits with their sign, and the interval."""
    return numbers.MISSING if estimate is None else _with_interval(estimate, numbers.signed)


def _with_interval(estimate: Estimate, digits: Callable[[float], str]) -> str:
    low, high = map(digits, estimate.interval)
    return f"{digits(estimate.value)} ({low} to {high})"


def _better(facts: Facts) -> str:
    if facts.measure == "new model's neighbours":
        return (
            "Without labels the new model's own neighbours are taken for right, so nothing here shows that it is the "
            "better model."
        )
    gain = facts.backfill.gain
    said = f"The new model gives {value(facts.backfill.map)} mAP where the old one gives {value(facts.old.map)}"
    if above_zero(gain):
        return f"{said}: better by {signed(gain)}."
    if gain is not None and gain.interval[1] < 0:
        return f"{said}: worse by {signed(gain)}; were the two files exchanged?"
    return f"{said}: a difference of {signed(gain)}, which may be none."


def _gain(one: Candidate) -> str:
    way = "Vectors upgraded by" if one.kind == "upgrade" else "Queries mapped by"
    verb = "beat" if above_zero(one.gain) else "do not clearly beat"
    return f"{way} {one.name} {verb} the old model: {value(one.map)} mAP, {signed(one.gain)}."


def _clearly_adds(facts: Facts, fuse: Candidate, upgrade: Candidate) -> bool:
    adds = facts.over_upgrade[fuse.name]
    if adds is None or not above_zero(adds) or upgrade.map is None or facts.backfill.map is None:
        return False
    return adds.value >= CLEARLY_ADDS * (facts.backfill.map.value - upgrade.map.value)
