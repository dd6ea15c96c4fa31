"""The result in the terminal: one table and a few lines, within 80 columns."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bict.reports.numbers import half_width, interval, percent, score
from bict.reports.record import ResultRecord, Row
from bict.reports.verdict import gain_shares, summary, verdict

STYLES = {"upgraded": "bold"}
ANSWER_STYLES = {"upgrade": "bold green", "queries only": "bold yellow", "unclear": "bold yellow", "keep": "bold red"}


def result_table(record: ResultRecord) -> Table:
    """The rows of a record: mAP and its 95 % interval, recall at 1 and 10, and the share of a full backfill's gain."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("name", "query", "gallery"):
        table.add_column(name, no_wrap=True)
    for name in ("mAP", "95 %", "R@1", "R@10", "share"):
        table.add_column(name, no_wrap=True, justify="right")
    shares = gain_shares(record)
    for row in record.rows:
        table.add_row(*map(Text, _cells(row, shares[row.name])), style=STYLES.get(row.name))
    return table


def print_result(record: ResultRecord, console: Console) -> None:
    """Print the table, what its numbers mean, and the verdict."""
    console.print(result_table(record))
    console.print()
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True)
    lines.add_column(no_wrap=True, justify="right")
    lines.add_column()
    for line in summary(record):
        lines.add_row(line.label, Text(line.value, style="bold"), Text(line.meaning, style="dim"))
    console.print(lines)
    console.print()
    answer = verdict(record)
    console.print(Text.assemble((f"{answer.headline}.", ANSWER_STYLES[answer.answer]), " ", answer.sentence))


def _cells(row: Row, share: float | None) -> tuple[str, ...]:
    return (
        row.name.replace("_", " "),
        row.query,
        row.gallery,
        score(row.map),
        interval(row.map_interval),
        score(row.recall_at_1) + half_width(row.recall_at_1_interval),
        score(row.recall_at_10) + half_width(row.recall_at_10_interval),
        percent(share).replace(" ", ""),  # a column less, so that 80 are enough
    )
