"""What happened to upgrades that were killed, and what must not have happened."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass
class Counts:
    """What happened, and what must not have happened.

    `runs` are those that were killed at least once; `finished_before` were done before their kill came.
    """

    runs: int = 0
    finished_before: int = 0
    kills: int = 0
    disks_filled: int = 0
    servers_killed: int = 0
    writes_meanwhile: int = 0
    searches: int = 0
    rollbacks: int = 0
    finalizes: int = 0
    rows_lost: int = 0
    rows_wrong: int = 0
    payload_changed: int = 0
    searches_failed: int = 0
    rollbacks_wrong: int = 0
    unfinished: int = 0
    killed_in: dict[str, int] = field(default_factory=dict)


BAD = ("rows_lost", "rows_wrong", "payload_changed", "searches_failed", "rollbacks_wrong", "unfinished")


def show(counts: Counts, title: str) -> None:
    table = Table("", "count", title=title)
    for name, value in asdict(counts).items():
        if name != "killed_in":
            table.add_row(name.replace("_", " "), f"{value:,}", style="bold" if name in BAD else "")
    Console().print(table)
    Console().print("killed after: " + ", ".join(f"{name} {number}" for name, number in counts.killed_in.items()))
