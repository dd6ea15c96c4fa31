"""Writes the tables and figures of the bench into docs/results.md, from the records in results/.

    python benchmarks/results_page.py

`--check` writes nothing and fails where the page is not what the records give.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bict.reports.bench import BenchRecord
from bict.reports.bench_figures import chain_chart, methods_chart, sweep_chart
from bict.reports.bench_markdown import overview, sections
from bict.reports.bench_table import grouped, is_plain, lines, load_bench_records, sweep

ROOT = Path(__file__).parents[1]
PAGE, FIGURES = ROOT / "docs" / "results.md", ROOT / "docs" / "figures"
CHOSEN = re.compile(r" --(methods|seeds) \S+")
GALLERIES = ("once", "growing")
BEGIN, END = "<!-- bench: made by make results -->\n", "<!-- end of bench -->"


def figures(records: list[BenchRecord]) -> Iterator[tuple[str, str]]:
    """File names and SVG texts."""
    for (data, scenario), some in grouped(records).items():
        found = lines(some)
        if scenario == "sequential":
            for line in found:
                for gallery in GALLERIES:
                    yield f"{data}-chain-{line.method}-{gallery}.svg", chain_chart(line, gallery, "chart")
            continue
        plain = [line for line in found if is_plain(line.method)]
        if len(plain) > 1:
            yield f"{data}-{scenario}.svg", methods_chart(plain, "chart")
        for method, curve in sweep(some).items():
            yield f"{data}-{scenario}-{method}.svg", sweep_chart(curve, method, "chart")


def page(records: list[BenchRecord], names: list[str]) -> str:
    """The part of the page between the two marks: an overview, then tables, each with its figures."""
    parts = [f"### Overview\n\n{overview(records)}"]
    for section in sections(records):
        ends = [f"{section.figure}{end}.svg" for end in ("", *(f"-{gallery}" for gallery in GALLERIES))]
        shown = [f"![{section.heading}](figures/{name})" for name in ends if section.figure and name in names]
        parts.append("\n\n".join([f"### {section.heading}", section.text, *shown]))
    shown = "\n".join(f"- `{command}`" for command in commands(records))
    return f"{BEGIN}\n" + "\n\n".join(parts) + f"\n\n### Made by\n\n{shown}\n\n{END}"


def commands(records: list[BenchRecord]) -> list[str]:
    """Commands that make the records: one for the methods of a scenario and data set on the same seeds."""
    seeds: dict[tuple[str, str], set[int]] = defaultdict(set)
    for record in records:
        seeds[CHOSEN.sub("", record.command), record.method].add(record.seed)
    methods: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (command, method), found in seeds.items():
        methods[command, ",".join(map(str, sorted(found)))].append(method)
    return sorted(
        f"{command} --seeds {found} --methods {','.join(names)}" for (command, found), names in methods.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where the page differs")
    options = parser.parse_args()
    records = load_bench_records(ROOT / "results")
    drawn = dict(figures(records))
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    new = before + page(records, list(drawn)) + rest.partition(END)[2]
    stale = {path.name for path in FIGURES.glob("*.svg")} - set(drawn)
    files = {FIGURES / name: svg + "\n" for name, svg in drawn.items()} | {PAGE: new}
    changed = [path for path, content in files.items() if not path.exists() or path.read_text() != content]
    if options.check:
        if changed or stale:
            raise SystemExit(f"not what the records give: {', '.join(p.name for p in changed)} {', '.join(stale)}")
        return
    FIGURES.mkdir(exist_ok=True)
    for name in stale:
        (FIGURES / name).unlink()
    for path, content in files.items():
        path.write_text(content)


if __name__ == "__main__":
    main()
