"""Bench records as Markdown: an overview of methods by scenario, and a section for each scenario, sweep and chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bict.reports.bench import BenchRecord
from bict.reports.bench_table import (
    ABLATION,
    COLUMNS,
    Line,
    baselines,
    grouped,
    is_plain,
    lines,
    marks,
    reference,
    served_share,
    sweep,
)


@dataclass(frozen=True)
class Section:
    """A heading, the text below it, and how the names of its figures begin."""

    heading: str
    text: str
    figure: str


def sections(records: Sequence[BenchRecord]) -> Iterator[Section]:
    """One section for each data set and scenario, and one for each sweep and chain."""
    for (data, scenario), some in grouped(records).items():
        name = f"{data}, {scenario}"
        if scenario == "sequential":
            for line in lines(some):
                yield Section(f"{name}, {line.method}", _chain(line), f"{data}-chain-{line.method}")
            continue
        plain = [record for record in some if is_plain(record.method)]
        ablation = [record for record in some if record.method.startswith(ABLATION)]
        if plain:
            yield Section(name, _methods(plain), f"{data}-{scenario}")
        if ablation:
            yield Section(f"{name}: forms of the transform", _methods(ablation), "")
        for method, curve in sweep(some).items():
            yield Section(f"{name}: weight of {method}", _weights(curve), f"{data}-{scenario}-{method}")


def overview(records: Sequence[BenchRecord]) -> str:
    """Served mAP of every method that was run in more than one place, by data and scenario; the two ends in bold.

    The best of a column that reads no image of the gallery is bold, too.
    """
    places = {
        (data, scenario): lines([record for record in some if is_plain(record.method)])
        for (data, scenario), some in grouped(records).items()
        if scenario != "sequential" and any(is_plain(record.method) for record in some)
    }
    cells: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for place, found in places.items():
        ends, first = baselines(found), reference(found)
        for name, row in (("**old**", "old"), ("**free backfill**", "free_backfill")):
            cells[name][place] = str(ends.rows[row])
        for line in found:
            value = str(line.rows[line.served or ""])
            cells[f"`{line.method}`"][place] = f"**{value}**" if line is first else value
    several = [name for name, by_place in cells.items() if len(by_place) > 1]
    head = ["served mAP", *(f"{data}<br>{scenario}" for data, scenario in places)]
    body = [[name, *(cells[name].get(place, "") for place in places)] for name in several]
    return _pipes([head, ["---"] * len(head), *body])


def _methods(records: Sequence[BenchRecord]) -> str:
    found = lines(records)
    first = reference(found)
    marked = marks(records, first.method)
    table = [["method", "seeds", *COLUMNS.values(), "share", "negative flips"]]
    table.append(["---"] * len(table[0]))
    for line in found:
        cells = [line.rows.get(name) for name in COLUMNS]
        cells += [served_share(line), line.metrics.get("negative_flip_rate")]
        texts = ["" if cell is None else str(cell) for cell in cells]
        place = list(COLUMNS).index(line.served or "")
        texts[place] += marked.get(line.method, "")
        table.append([f"`{line.method}`", ", ".join(map(str, line.seeds)), *texts])
    note = (
        f"mAP; compare lines of the same seeds. `-`, `+`: served mAP below or above that of `{first.method}`, paired "
        "95 % bootstrap over the queries of the seeds both have. Blended and fused ask both models for each query; "
        "merged reads half of the gallery's images."
    )
    return f"{_pipes(table)}\n\n{note}"


def _weights(curve: Sequence[tuple[float, Line]]) -> str:
    head = ["weight", "backward", "upgraded", "self-test", "share"]
    table = [head, ["---"] * len(head)]
    for weight, line in curve:
        cells = [line.rows.get(name) for name in ("backward", "upgraded", "backfill")]
        cells.append(line.metrics.get("recovered_share"))
        table.append([f"{weight:g}", *("" if cell is None else str(cell) for cell in cells)])
    return _pipes(table)


def _chain(line: Line) -> str:
    states = ("fixed", "composed", "refitted", "backfill")
    head = ["gallery", "generation", *states]
    table = [head, ["---"] * len(head)]
    for gallery in ("once", "growing"):
        count = sum(name.startswith(f"{gallery} fixed") for name in line.rows)
        table += [
            [gallery, str(number), *(str(line.rows[f"{gallery} {state} {number}"]) for state in states)]
            for number in range(1, 1 + count)
        ]
    return _pipes(table)


def _pipes(table: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)
