from __future__ import annotations

import json

import pytest

from bict.errors import TransformError
from bict.transforms import Ladder, RungScore, TransformCard
from bict.transforms.card import parse_card


@pytest.fixture
def card(spaces) -> TransformCard:
    scores = (RungScore(name="ridge", map=0.5, map_interval=(0.4, 0.6), seconds=1.5), RungScore(name="x", note="no"))
    ladder = Ladder(
        chosen="ridge", measure="map", pairs=9, views=2, held_out_classes=3, held_out_images=6, queries=6, rungs=scores
    )
    source, target = spaces()
    return TransformCard(
        rung="ridge",
        settings={"seed": 1},
        source=source,
        target=target,
        digest="d",
        data_hash=None,
        scores=ladder,
        created="2026-01-01",
        bict_version="0",
    )


def test_round_trip(card):
    assert parse_card(card.model_dump_json(), "here") == card


def test_a_card_knows_two_directions_and_takes_the_forward_one_where_none_is_named(card):
    assert card.direction == "old vectors -> new space"
    bridge = card.model_copy(update={"direction": "new queries -> old space"})
    assert parse_card(bridge.model_dump_json(), "here") == bridge != card


def test_score_is_map_else_neighbour_recall():
    assert RungScore(name="a", map=0.0, neighbour_recall=0.9).score == 0.0
    assert RungScore(name="a", neighbour_recall=0.9).score == 0.9
    assert RungScore(name="a").score is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, r"here has schema 2, this bict reads up to 1: upgrade bict"),
        ({"schema_version": 0}, "schema_version"),
        ({"schema_version": None}, "schema_version"),
        ({"direction": "new vectors -> old space"}, "direction"),
        ({"digest": 5}, "digest"),
        ({"surprise": 1}, "surprise"),
        ({"source": {"name": "x"}}, r"source\.fingerprint"),
    ],
)
def test_another_card_is_refused_in_one_line(card, change, message):
    text = json.dumps(json.loads(card.model_dump_json()) | change)
    with pytest.raises(TransformError, match=message) as refusal:
        parse_card(text, "here")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"rung": NaN}'])
def test_other_text_is_refused(text):
    with pytest.raises(TransformError, match=r"^here is "):
        parse_card(text, "here")
