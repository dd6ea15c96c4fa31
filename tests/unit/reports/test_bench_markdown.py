"""Bench records as Markdown."""

from __future__ import annotations

from tests.unit.reports.test_bench_table import record

from bict.reports.bench_markdown import overview, sections


def test_a_section_says_every_mean_once_and_names_its_figures():
    chain = {f"{gallery} {state} {number}": 0.1 * number for gallery in ("once", "growing")
             for state in ("fixed", "composed", "refitted", "backfill") for number in (1, 2)}  # fmt: skip
    some = [record("influence", 0.5123), record("influence@1", 0.5), record("influence@3", 0.52)]
    some += [record("psi-500", 0.4), record("own", 0.9, old=0.7)]
    found = {one.heading: one for one in sections([*some, record("influence", 0.5, scenario="sequential", **chain)])}
    plain = found["glyphs, extended-class"]
    assert "| `influence` | 0 | 0.400 | 0.420 | 0.512- |  |" in plain.text
    assert "| `own` | 0 | 0.700 |" in plain.text
    assert "psi" not in plain.text
    assert plain.figure == "glyphs-extended-class"
    assert found["glyphs, extended-class: forms of the transform"].figure == ""
    assert found["glyphs, extended-class: weight of influence"].figure == "glyphs-extended-class-influence"
    assert "| growing | 2 | 0.200 | 0.200 | 0.200 | 0.200 |" in found["glyphs, sequential, influence"].text
    assert len(found) == 4


def test_the_overview_has_a_column_for_each_place_and_lines_for_what_was_run_in_several():
    some = [record(method, value, scenario=scenario) for method, value, scenario in (
        ("joint", 0.55, "extended-class"), ("influence", 0.5, "extended-class"), ("ridge", 0.45, "extended-class"),
        ("joint", 0.5, "open-class"), ("influence", 0.51, "open-class"), ("joint@1", 0.7, "open-class"),
    )]  # fmt: skip
    lines = overview(some).splitlines()
    assert lines[0] == "| served mAP | glyphs<br>extended-class | glyphs<br>open-class |"
    assert "| **old** | 0.400 | 0.400 |" in lines
    assert "| `joint` | **0.550** | 0.500 |" in lines
    assert "| `influence` | 0.500 | **0.510** |" in lines
    assert not any("ridge" in line or "@" in line for line in lines)
