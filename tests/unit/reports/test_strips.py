from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from bict.errors import DataError, RunError, SettingsError
from bict.reports.strips import Hit, Strip, choose_strips, load_strips, save_strips, thumbnail


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_strips_come_back_as_written(tmp_path: Path, strips: list[Strip]) -> None:
    assert load_strips(save_strips(strips, tmp_path / "strips.json")) == strips


def test_a_thumbnail_elsewhere_is_refused() -> None:
    for place in ("https://example.org/a.png", "javascript:alert(1)", 'data:image/png;base64,AA" onload="x'):
        with pytest.raises(ValidationError, match="thumbnail"):
            Hit(thumbnail=place, label="a", right=True)


def test_more_than_eight_hits_and_unknown_rows_are_refused(strips: list[Strip]) -> None:
    fields = strips[0].model_dump()
    nine = fields["rows"]["old"] + fields["rows"]["old"][:1]
    with pytest.raises(ValidationError, match="at most 8"):
        Strip(**(fields | {"rows": {"old": nine}}))
    with pytest.raises(ValidationError, match="oracle"):
        Strip(**(fields | {"rows": {"oracle": []}}))


def test_a_foreign_or_newer_file_is_refused(tmp_path: Path, strips: list[Strip]) -> None:
    path = save_strips(strips, tmp_path / "strips.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(RunError, match="schema 2"):
        load_strips(path)


def test_a_tiny_image_is_enlarged_by_a_whole_factor_without_smoothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 20), dtype=np.uint8)
    image = decoded(thumbnail(pixels))
    assert image.size == (40, 56)
    np.testing.assert_array_equal(np.asarray(image), pixels.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(("shape", "size"), [((64, 64), (64, 64)), ((100, 200, 3), (64, 32)), ((300, 90), (19, 64))])
def test_no_side_is_above_64(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    image = decoded(thumbnail(np.full(shape, 200, np.uint8)))
    assert image.size == size
    assert set(np.unique(np.asarray(image))) == {200}


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4)), np.zeros(4, np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_other_pixels_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected uint8 pixels"):
        thumbnail(pixels)


def test_the_choice_shows_the_best_the_worst_and_others() -> None:
    old = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    upgraded = np.array([0.5, 0.9, 0.6, 0.8, 0.1, 0.4, 0.2, np.nan])
    chosen = choose_strips(old, upgraded, 6, seed=0)
    assert [choice.row for choice in chosen[:4]] == [1, 3, 4, 6]
    assert {choice.row for choice in chosen[4:]} == {0, 2, 5} & {choice.row for choice in chosen[4:]}
    assert [choice.why for choice in chosen[:3:2]] == [
        "most improved, AP .500 to .900",
        "most worsened, AP .500 to .100",
    ]
    assert all(choice.why.startswith("drawn at random") for choice in chosen[4:])
    assert len(chosen) == 6


def test_the_random_part_follows_the_seed() -> None:
    same = np.linspace(0, 1, 500)
    assert choose_strips(same, same, seed=1) == choose_strips(same, same, seed=1)
    assert choose_strips(same, same, seed=1) != choose_strips(same, same, seed=2)


@given(
    st.lists(st.tuples(st.floats(0, 1) | st.just(np.nan), st.floats(0, 1)), max_size=30),
    st.integers(0, 9),
    st.integers(0, 5),
)
def test_every_choice_is_distinct_measured_and_honest(pairs: list[tuple[float, float]], count: int, seed: int) -> None:
    old, upgraded = np.array(pairs, float).reshape(-1, 2).T
    rows = [choice.row for choice in choose_strips(old, upgraded, count, seed=seed)]
    change = upgraded - old
    assert len(rows) == len(set(rows)) == min(count, int(np.isfinite(change).sum()))
    assert np.isfinite(change[rows]).all()
    if count >= 2 and (change < 0).any():
        assert np.nanmin(change) == change[rows].min()


def test_arrays_that_do_not_match_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"\(3,\), \(2,\)"):
        choose_strips(np.zeros(3), np.zeros(2), seed=0)
