from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from bict.reports.record import ResultRecord
from bict.reports.table import print_result, result_table

Make = Callable[..., ResultRecord]


def printed(record: ResultRecord, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_result(record, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_fits_80_columns_and_holds_the_numbers(record: ResultRecord) -> None:
    text = printed(record)
    assert max(map(len, text.splitlines())) <= 80
    upgraded = next(line for line in text.splitlines() if line.startswith("upgraded"))
    assert upgraded.split() == ["upgraded", "new", "upgraded", ".500", ".490-.510", ".700±.020", "1.00±.000", "50%"]
    for number in ("-.020", "4.1 %", "8.7 %", "(+11 %)"):
        assert number in text
    assert "Upgrade the gallery." in text
    assert "…" not in text


def test_the_lines_below_stay_one_line_each(record: ResultRecord, quick: ResultRecord) -> None:
    for text in (printed(record), printed(quick)):
        _, lines, sentence = text.strip().split("\n\n")
        assert len(lines.splitlines()) == 4
        assert len(sentence.splitlines()) == 2


def test_a_quick_run_has_four_rows(quick: ResultRecord) -> None:
    assert result_table(quick).row_count == 4
    text = printed(quick)
    assert "free upgraded" not in text
    assert "no free new model was trained" in text


def test_extreme_shares_still_fit(make_record: Make) -> None:
    text = printed(make_record(scores={"free_backfill": 0.46, "upgraded": 0.2}))
    assert "-2500%" in text
    assert max(map(len, text.splitlines())) <= 80


def test_names_are_never_taken_for_markup(make_record: Make) -> None:
    record = make_record(recovered_share=None, reasons={"recovered_share": "see [red]rows[/red]"})
    assert "[red]rows[/red]" in printed(record)


@pytest.mark.parametrize("color_system", ["truecolor", None])
def test_the_answer_needs_no_colour(make_record: Make, color_system: str | None) -> None:
    console = Console(width=80, file=io.StringIO(), color_system=color_system, force_terminal=True)  # type: ignore[arg-type]
    print_result(make_record(scores={"upgraded": 0.4, "backward": 0.4}), console)
    assert "Do not upgrade." in console.file.getvalue()  # type: ignore[attr-defined]
