from __future__ import annotations

import logging

import pytest

from bict.data.screening import leave_out, photo_problems
from bict.errors import DataError


def test_problems_come_in_the_order_of_the_files_with_their_boxes(tmp_path, photo):
    (tmp_path / "notes.txt").write_text("text")
    paths = [tmp_path / "gone.png", photo(tmp_path / "a.png"), tmp_path / "notes.txt", photo(tmp_path / "B.JPG")]
    assert photo_problems(paths) == ["no such file", "", "no image file", ""]
    boxes = [None, (20.0, 0.0, 30.0, 5.0), None, (0.0, 0.0, 6.0, 5.0)]
    problem = "its box (20.0, 0.0, 30.0, 5.0) holds no pixel of 12x10"
    assert photo_problems(paths, boxes=boxes) == ["no such file", problem, "no image file", ""]
    assert photo_problems([]) == []


def test_what_has_a_problem_is_left_out_named_and_logged(caplog):
    with caplog.at_level(logging.WARNING):
        kept, skipped = leave_out(["a", "b", "c"], ["", "cut", ""], strict=False)
    assert kept.tolist() == [True, False, True]
    assert skipped == ("b (cut)",)
    assert caplog.messages == ["left out: 1 of 3 images cannot be read: b (cut)"]
    with pytest.raises(DataError, match=r"^1 of 3 pages are gone, the first is b \(cut\)$"):
        leave_out(["a", "b", "c"], ["", "cut", ""], strict=True, fault="pages are gone")


def test_nothing_wrong_is_no_problem_and_nothing_right_is_always_one(caplog):
    kept, skipped = leave_out(["a", "b"], ["", ""], strict=True)
    assert (kept.tolist(), skipped, caplog.messages) == ([True, True], (), [])
    with pytest.raises(DataError, match="2 of 2 images cannot be read"):
        leave_out(["a", "b"], ["cut", "cut"], strict=False)
