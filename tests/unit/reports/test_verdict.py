from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bict.reports.record import ResultRecord
from bict.reports.verdict import gain_shares, summary, verdict

Make = Callable[..., ResultRecord]


def test_a_clear_gain(record: ResultRecord) -> None:
    found = verdict(record)
    assert found.answer == "upgrade"
    assert found.sentence == (
        "The upgrade lifts mAP from .450 to .500 (+11 %) without reading a gallery image; "
        "a full re-embed would give .570."
    )


@pytest.mark.parametrize(
    ("scores", "answer", "told"),
    [
        ({"upgraded": 0.44, "backward": 0.40}, "keep", "lowers mAP from .450 to .440 (-2 %): the rewritten"),
        ({"upgraded": 0.45, "backward": 0.40}, "keep", "leaves mAP at .450: the rewritten"),
        ({"upgraded": 0.46}, "unclear", "the intervals overlap (.440-.460 and .450-.470)"),
        ({"upgraded": 0.455, "backward": 0.46}, "unclear", "untouched gallery give .460 and the intervals overlap"),
        ({"upgraded": 0.49, "backward": 0.495}, "queries only", "untouched gallery give .495: rewriting"),
        ({"upgraded": 0.40, "backward": 0.495}, "queries only", "lowers mAP from .450 to .400"),
        ({"backward": math.nan}, "upgrade", "lifts mAP from .450 to .500"),
        ({"upgraded": math.nan}, "unclear", "was not measured"),
        ({"old": 0.0, "backward": 0.0}, "upgrade", "from .000 to .500 without"),
    ],
)
def test_the_answer_follows_the_numbers(make_record: Make, scores: dict[str, float], answer: str, told: str) -> None:
    found = verdict(make_record(scores=scores))
    assert found.answer == answer
    assert told in found.sentence
    assert ("Do not upgrade" in found.headline) == (answer in ("keep", "queries only"))


def test_shares_are_measured_against_the_free_model_where_there_is_one(
    record: ResultRecord, quick: ResultRecord
) -> None:
    shares = gain_shares(record)  # .45 to .55
    assert shares == pytest.approx(
        {"old": 0, "backward": 0.06, "upgraded": 0.5, "backfill": 1.2, "free_upgraded": 0.4, "free_backfill": 1}
    )
    assert gain_shares(quick) == pytest.approx({"old": 0, "backward": 0.05, "upgraded": 5 / 12, "backfill": 1})


def test_an_undefined_share_has_no_number_and_a_reason(make_record: Make) -> None:
    reasons = {"recovered_share": "the free new model is no better than the old one"}
    record = make_record(recovered_share=None, update_gain=None, reasons=reasons)
    assert set(gain_shares(record).values()) == {None}
    share, gain, tax, _ = summary(record)
    assert (share.value, share.meaning) == ("-", "undefined: the free new model is no better than the old one")
    assert (gain.value, gain.meaning) == ("-", "undefined: no reason was recorded")
    assert tax.value == "-.020"


def test_a_reference_below_old_gives_no_share(make_record: Make) -> None:
    assert set(gain_shares(make_record(scores={"free_backfill": 0.4})).values()) == {None}


def test_the_summary_says_when_the_new_model_stands_in(record: ResultRecord, quick: ResultRecord) -> None:
    assert "free new model" in summary(record)[0].meaning
    assert "new stands in for free new" in summary(quick)[0].meaning
    assert (summary(record)[3].value, summary(record)[3].meaning.split(",")[1]) == ("4.1 %", " 8.7 % turn right")
