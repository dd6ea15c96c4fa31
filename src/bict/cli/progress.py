"""Progress bars in the terminal, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from bict.progress import Progress, Steps


@contextmanager
def terminal_steps(*, at_once: bool = True) -> Iterator[Steps]:
    """A bar for each named step; steps that never tell their progress show their time alone.

    Without `at_once` nothing is drawn before the first progress is told: a question or a refusal may come before.
    """
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Bars(*columns, console=Console(stderr=True))

    @contextmanager
    def step(name: str) -> Iterator[Progress]:
        task = bars.add_task(name, total=None)
        if at_once:
            bars.start()

        def tell(done: int, total: int) -> None:
            bars.start()
            bars.update(task, completed=done, total=total)

        yield tell
        finished = bars.tasks[task].total or 1
        bars.update(task, completed=finished, total=finished)

    def steps(name: str) -> AbstractContextManager[Progress]:
        return step(name)

    try:
        yield steps
    finally:
        bars.stop()
