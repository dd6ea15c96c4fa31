"""The actors that hold one function: who is given which item, and what happens when one dies."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Generic

from bict.engine.base import Item, Result
from bict.errors import BictError, EngineError

TRIES = 3
START_SECONDS = 600.0


@dataclass
class Held(Generic[Item]):
    """What a worker is busy with: an item, or None while it starts."""

    worker: Any
    item: Item | None


@dataclass
class Crew(Generic[Item, Result]):
    """Ray actors with a method `begin` and a method `run(item)`; only those that began are given items.

    Attributes:
        ray: the module.
        hire: starts one more actor.
        most: actors at the same time.
        idle: actors with nothing to do.
        held: what the others do, by the reference of its result.
        lost: how often an actor died over an item, or, at None, at its start.
    """

    ray: ModuleType
    hire: Callable[[], Any]
    most: int
    idle: list[Any] = field(default_factory=list)
    held: dict[Any, Held[Item]] = field(default_factory=dict)
    lost: Counter[Item | None] = field(default_factory=Counter)

    def spread(self, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item with its result, as they are finished; the next item is given out before a result is yielded.

        Raises:
            BictError: what the function raised, after all items that were begun.
            EngineError: it raised something else, or actors died too often.
        """
        waiting, finished, failed = deque(items), None, None
        self.lost.clear()
        while True:
            self._give(waiting)
            if finished is not None:
                yield finished
                finished = None
            if not waiting and not self._working:
                break
            try:
                finished = self._take(waiting)
            except BictError as error:
                failed = failed or error
                waiting.clear()
        if failed is not None:
            raise failed

    @property
    def _working(self) -> bool:
        return any(held.item is not None for held in self.held.values())

    def _give(self, waiting: deque[Item]) -> None:
        """An item to each idle actor, and more actors where there are more items."""
        while waiting and self.idle:
            worker, item = self.idle.pop(), waiting.popleft()
            self.held[worker.run.remote(item)] = Held(worker, item)
        starting = sum(1 for held in self.held.values() if held.item is None)
        for _ in range(min(len(waiting) - starting, self.most - len(self.held))):
            worker = self.hire()
            self.held[worker.begin.remote()] = Held(worker, None)

    def _take(self, waiting: deque[Item]) -> tuple[Item, Result] | None:
        """Wait for one actor: its item with the result, or None where it began, or died and the item waits again."""
        limit = None if self._working else START_SECONDS
        ready, _ = self.ray.wait(list(self.held), num_returns=1, timeout=limit)
        if not ready:
            raise EngineError(
                f"no worker could start in {START_SECONDS:.0f} s: see with ray status whether the cluster has a free "
                "CPU, then run again"
            )
        held = self.held.pop(ready[0])
        try:
            result = self.ray.get(ready[0])
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MemoryError):
                self._lose(held, error.cause, waiting)
                return None
            self.idle.append(held.worker)
            if isinstance(error.cause, BictError):
                raise error.cause from None
            raise EngineError(f"{held.item}: {telling_line(error.cause)}") from error
        except self.ray.exceptions.RayError as error:
            self._lose(held, error, waiting)
            return None
        self.idle.append(held.worker)
        return None if held.item is None else (held.item, result)

    def _lose(self, held: Held[Item], error: BaseException, waiting: deque[Item]) -> None:
        """Leave a dead actor, and have its item done by another.

        Raises:
            EngineError: too many died over the same item, or before they began.
        """
        for worker in (held.worker, *self.idle):  # the idle ones may have died with the same machine
            self.ray.kill(worker)
        self.idle.clear()
        self.lost[held.item] += 1
        if self.lost[held.item] >= TRIES:
            doing = "when they started" if held.item is None else f"over {held.item}"
            raise EngineError(
                f"{TRIES} workers died {doing} ({telling_line(error)}): see ray logs, give them more memory (fewer "
                "--workers), then run again; finished units are kept"
            )
        if held.item is not None:
            waiting.appendleft(held.item)

    def dismiss(self) -> None:
        """End all actors, also busy ones."""
        for worker in [*self.idle, *(held.worker for held in self.held.values())]:
            self.ray.kill(worker)
        self.idle.clear()
        self.held.clear()


def telling_line(error: BaseException) -> str:
    """The line of an error that says most: of a traceback the last, of a dead process how it ended."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    ends = [line for line in lines if "Error: " in line] or [line for line in lines if "exit detail: " in line]
    return (ends[-1].split("exit detail: ")[-1] if ends else lines[0])[:200]
