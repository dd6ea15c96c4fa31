"""How long work tells how far it is: a callback, so that the library itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def silent(_done: int, _total: int) -> None:
    """Tell nobody."""
