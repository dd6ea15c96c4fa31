"""Work of one process: what is computed next overlaps with what is done with the result before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from typing import TypeVar

from bict.engine import base

Item = TypeVar("Item")
Result = TypeVar("Result")


class LocalEngine:
    """In this process: one item after the other, or some at a time, each in a thread, and `at_most` so many."""

    remote = False

    def __init__(self, at_most: int | None = None) -> None:
        self.at_most = at_most

    @contextmanager
    def workers(
        self, function: Callable[[base.Item], base.Result], *, gpu: bool = False, at_once: int = 1
    ) -> Iterator[base.Spread[base.Item, base.Result]]:
        """The function itself, called on the CPU of this process."""
        del gpu
        threads = at_once if self.at_most is None else min(at_once, self.at_most)

        def spread(items: Sequence[base.Item]) -> Iterator[tuple[base.Item, base.Result]]:
            if threads == 1:
                return ((item, function(item)) for item in items)
            return _side_by_side(function, items, threads)

        yield spread


def _side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """As `overlap`; after an error no item is begun, and those that were are finished and yielded first."""
    failed: list[BaseException] = []

    def attempt(item: Item) -> list[Result]:
        if failed:
            return []
        try:
            return [function(item)]
        except BaseException as error:  # raised below
            failed.append(error)
            return []

    for item, results in overlap(attempt, takewhile(lambda _: not failed, items), threads=threads):
        yield from ((item, result) for result in results)
    if failed:
        raise failed[0]


def overlap(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int = 1
) -> Iterator[tuple[Item, Result]]:
    """Each item with the function's result for it, in order.

    The function runs in threads of its own, so many items at a time, while the caller works on an earlier result.
    Items are drawn in the caller's thread, and at most one for each thread more of them than results were given.

    >>> list(overlap(abs, [-1, 2]))
    [(-1, 1), (2, 2)]

    Raises:
        Exception: what the function raised, in the place of the result.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="overlap") as workers:
        try:
            for item in items:
                waiting.append((item, workers.submit(function, item)))
                if len(waiting) > threads:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:  # also when the caller stops early
            for _, result in waiting:
                result.cancel()
