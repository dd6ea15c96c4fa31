"""What a place where work runs must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")
Spread = Callable[[Sequence[Item]], Iterator[tuple[Item, Result]]]
"""Gives items to workers, and yields each item with the function's result as it is finished, in any order."""


class Engine(Protocol):
    """Runs a function over items; it only schedules, and knows nothing of what is done."""

    remote: bool
    """Whether the function runs in other processes, so that it must be picklable and open by itself what it needs."""

    def workers(
        self, function: Callable[[Item], Result], *, gpu: bool = False, at_once: int = 1
    ) -> AbstractContextManager[Spread[Item, Result]]:
        """Workers that each hold the function, from the first items on until the context ends.

        What the function raises comes out once the items that were begun are finished and yielded. `gpu` says that the
        function is faster on a GPU, where there is one; `at_once` how many items one process may work on at a time.

        Raises:
            EngineError: from the workers; one died too often over the same item, or none could be started.
        """
        ...
