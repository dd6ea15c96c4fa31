from __future__ import annotations

import numpy as np
import pytest

from bict.assessment.decision import Decision, Facts, decide, more_pairs
from bict.reports.assessment import Candidate, CurvePoint, Estimate


def around(value, spread=0.02):
    return Estimate(value=value, interval=(value - spread, value + spread))


def one(name, kind, score, gain):
    return Candidate(name=name, kind=kind, choice=score, map=around(score), gain=around(gain))


def facts(
    *,
    new=0.1,
    upgrade=0.05,
    bridge=0.03,
    fuse=0.06,
    over=-0.02,
    adds=0.0,
    measure="labels",
    head=None,
    control=0.0,
    first=0.0,
):
    """Gains over an old mAP of .4; None leaves a way out."""
    ways = {
        "upgrade": None if upgrade is None else one("ridge", "upgrade", 0.4 + upgrade, upgrade),
        "bridge": None if bridge is None else one("bridge-mlp", "bridge", 0.4 + bridge, bridge),
        "head": None if head is None else one("bridge-head", "head", 0.4 + head, head),
        "control": None if head is None else one("old-head", "control", 0.4 + control, control),
        "fuse": None if fuse is None else one("fused-ridge", "fuse", 0.4 + fuse, fuse),
    }
    return Facts(
        measure=measure,
        old=one("old", "old", 0.4, 0.0),
        backfill=one("backfill", "backfill", 0.4 + new, new),
        **ways,
        over_upgrade={
            "bridge-mlp": around(over, 0.01),
            "bridge-head": around((head or 0) - (upgrade or 0), 0.01),
            "fused-ridge": around(adds, 0.005),
        },
        first_hits={name: around(first) for name in ("ridge", "bridge-mlp", "bridge-head")}
        | {"fused-ridge": around(0.01)},
        head_over_control=None if head is None else around(head - control, 0.01),
    )


@pytest.mark.parametrize(
    ("found", "verdict", "chosen"),
    [
        (facts(), "upgrade", "ridge"),
        (facts(new=0.01), "stay", "old"),  # its interval reaches below 0
        (facts(new=-0.1), "stay", "old"),
        (facts(new=-0.1, measure="new model's neighbours"), "upgrade", "ridge"),  # there the new model cannot lose
        (facts(upgrade=0.01, bridge=0.01), "re-embed", "backfill"),
        (facts(upgrade=-0.2, bridge=None), "re-embed", "backfill"),
        (facts(upgrade=None, bridge=None, fuse=None), "re-embed", "backfill"),
        (facts(upgrade=0.01, bridge=0.05), "bridge", "bridge-mlp"),
        (facts(upgrade=None, bridge=0.05, fuse=None), "bridge", "bridge-mlp"),
        (facts(bridge=0.07, over=0.02), "bridge", "bridge-mlp"),
        (
            facts(bridge=0.055, over=0.005),
            "upgrade",
            "ridge",
        ),  # not clearly better than the upgrade: nothing else asked
        (facts(adds=0.02), "fuse", "fused-ridge"),
        (facts(adds=0.004), "upgrade", "ridge"),  # not clearly above zero
        (facts(new=0.5, adds=0.02), "upgrade", "ridge"),  # a small part of what is missing
        (facts(upgrade=0.01, bridge=0.0, fuse=0.06, adds=0.05), "re-embed", "backfill"),
        (facts(head=0.09), "bridge", "bridge-head"),
        (facts(head=0.09, control=0.085), "upgrade", "ridge"),  # the labels did it
        (facts(head=0.055), "upgrade", "ridge"),  # not better than the upgrade
        (facts(upgrade=0.0, bridge=0.0, head=0.09, control=0.1), "re-embed", "backfill"),
        (facts(upgrade=0.0, bridge=None, head=0.09, control=0.05), "bridge", "bridge-head"),
    ],
)
def test_each_verdict_has_its_numbers(found, verdict, chosen):
    decision = decide(found)
    assert (decision.verdict, decision.chosen) == (verdict, chosen)
    assert all(reason[-1] in ".?" for reason in decision.reasons)


def test_reasons_name_the_numbers_that_decide():
    assert "better by +.100 (+.080 to +.120)" in decide(facts()).reasons[0]
    assert "ridge beat the old model: .450" in decide(facts()).reasons[1]
    assert "were the two files exchanged?" in decide(facts(new=-0.1)).reasons[0]
    assert "may be none" in decide(facts(new=0.01)).reasons[0]
    assert "nothing here shows" in decide(facts(measure="new model's neighbours")).reasons[0]
    said = decide(facts(upgrade=0.01, bridge=0.0, fuse=0.06)).reasons[-1]
    assert "Only asking both models" in said
    assert "fused-ridge, +.060" in said


def test_a_worse_first_hit_is_told():
    said = decide(facts(first=-0.05)).reasons[-1]
    assert "recall@1 changes by -.050" in said
    assert "fused-ridge, with the old vectors kept, changes it by +.010" in said
    assert "recall@1" in decide(facts(first=-0.05, fuse=None)).reasons[-1]
    assert "recall@1" in decide(facts(upgrade=0.0, bridge=0.05, first=-0.05)).reasons[-1]
    assert "recall@1" not in " ".join(decide(facts(first=-0.01)).reasons)


def test_labels_alone_are_told_apart_from_the_new_model():
    assert "needs no new model" in " ".join(decide(facts(head=0.09, control=0.085)).reasons)
    assert "the new model adds +.090" in " ".join(decide(facts(head=0.09)).reasons)
    assert "needs no new model" in " ".join(decide(facts(new=0.0, head=0.09, control=0.1)).reasons)
    assert "labels" not in " ".join(decide(facts(head=0.01)).reasons)
    assert "not credited to the new model" in " ".join(decide(facts(head=0.025, control=0.018)).reasons)


def curve(*gains, spread=0.02):
    return [CurvePoint(pairs=100 * 2**at, gain=around(gain, spread)) for at, gain in enumerate(gains)]


def said(verdict, *gains, spread=0.02):
    return more_pairs(curve(*gains, spread=spread), Decision(verdict, "ridge", []))


def test_more_pairs_are_told_from_the_last_doubling():
    assert "more pairs would help" in said("upgrade", 0.02, 0.04)
    assert "more pairs would change little" in said("upgrade", 0.02, 0.0401, 0.0405)
    # lower end at -.01 with .01 for each doubling: one more
    assert "about 400 pairs" in said("re-embed", 0.0, 0.01)
    assert "more pairs alone would not" in said("re-embed", 0.01, 0.0)
    assert "more pairs alone would not" in said("re-embed", -0.201, -0.2)
    assert "about 220 pairs" in said("re-embed", 0.0, 0.0199)  # never fewer than there are
    assert said("stay", 0.0, 0.01) == ""
    assert said("upgrade", 0.1) == ""
    assert said("upgrade", np.nan, np.nan) == ""
