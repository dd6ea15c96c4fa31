"""The crew against a Ray that lives in this process and lets actors die when told to."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bict.engine.crew import TRIES, Crew, telling_line
from bict.errors import EngineError, GalleryError


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(f"RayTaskError\n{type(cause).__name__}: {cause}")
        self.cause = cause


@dataclass(eq=False)
class Reference:
    outcome: Any


@dataclass(eq=False)
class Actor:
    ray: Ray

    @property
    def begin(self):
        return SimpleNamespace(remote=lambda: Reference(self.ray.at_start))

    @property
    def run(self):
        return SimpleNamespace(remote=lambda item: self.ray.ask(self, item))


class Ray:
    """Actors compute when they are asked, `wait` answers in random order."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, function, *, seed=0, at_start=None, free=True):
        self.function, self.random, self.at_start, self.free = function, random.Random(seed), at_start, free  # noqa: S311
        self.alive, self.most, self.asked = [], 0, []

    def hire(self):
        self.alive.append(Actor(self))
        self.most = max(self.most, len(self.alive))
        return self.alive[-1]

    def ask(self, actor, item):
        assert actor in self.alive
        self.asked.append(item)
        try:
            return Reference(self.function(item))
        except RayError as died:
            return Reference(died)
        except Exception as raised:
            return Reference(RayTaskError(raised))

    def wait(self, references, num_returns, timeout):
        if not self.free:
            assert timeout > 0
            return [], references
        return self.random.sample(references, num_returns), []

    def get(self, reference):
        if isinstance(reference.outcome, Exception):
            raise reference.outcome
        return reference.outcome

    def kill(self, actor):
        if actor in self.alive:
            self.alive.remove(actor)


def dying(times):
    """Squares, after the process of an item died as often as `times` says."""
    left = Counter(times)

    def function(item):
        if left[item] > 0:
            left[item] -= 1
            raise (RayError if item % 2 else MemoryError)(f"died over {item}")
        return item * item

    return function


@given(
    count=st.integers(0, 30),
    most=st.integers(1, 5),
    times=st.dictionaries(st.integers(0, 29), st.integers(1, TRIES - 1)),
    seed=st.integers(0, 99),
)
def test_every_item_comes_out_once_whoever_dies(count, most, times, seed):
    ray = Ray(dying(times), seed=seed)
    crew = Crew(ray, ray.hire, most)
    assert sorted(crew.spread(range(count))) == [(n, n * n) for n in range(count)]
    assert ray.most <= min(most, count)
    again = list(crew.spread([7]))
    assert again == [(7, 49)]
    crew.dismiss()
    assert ray.alive == []


def test_the_next_items_are_out_before_a_result_is_worked_on_and_no_more():
    ray = Ray(abs)
    results = Crew(ray, ray.hire, 2).spread(range(10))
    for number, _ in enumerate(results, 1):
        assert len(ray.asked) <= number + 2
        assert len(ray.asked) > number or number == 10


def test_an_item_that_kills_every_worker_is_named_and_the_begun_ones_are_finished():
    ray = Ray(dying({3: TRIES}))
    found = []
    with pytest.raises(EngineError, match=rf"{TRIES} workers died over 3 \(died over 3\).*fewer --workers"):
        found.extend(Crew(ray, ray.hire, 2).spread([3, 1, 2]))
    assert set(ray.asked) - {3} == {item for item, _ in found}


def test_idle_workers_that_died_with_their_machine_are_not_counted_against_an_item():
    ray = Ray(abs)
    crew = Crew(ray, ray.hire, 4)
    list(crew.spread(range(40)))
    gone = set(crew.idle)
    assert len(gone) == 4
    ask = ray.ask
    ray.ask = lambda actor, item: Reference(RayError("its machine is gone")) if actor in gone else ask(actor, item)
    assert list(crew.spread([7])) == [(7, 7)]


def test_a_refusal_comes_out_as_it_is_after_what_was_begun_and_nothing_begins_after_it():
    def function(item):
        if item == 0:
            raise GalleryError("no")
        return item

    ray = Ray(function)
    found = []
    with pytest.raises(GalleryError, match=r"^no$"):
        found.extend(Crew(ray, ray.hire, 2).spread(range(100)))
    assert {item for item, _ in found} == set(ray.asked) - {0}
    assert len(ray.asked) < 100


def test_other_errors_are_one_line_that_names_the_item():
    ray = Ray(lambda item: item["a"])
    with pytest.raises(EngineError, match=r"^5: 'int' object is not subscriptable$"):
        list(Crew(ray, ray.hire, 2).spread([5]))


def test_workers_that_cannot_start_end_it():
    ray = Ray(abs, at_start=RayError("died\nModuleNotFoundError: No module named 'bict'"))
    with pytest.raises(EngineError, match=r"died when they started \(ModuleNotFoundError: No module named 'bict'\)"):
        list(Crew(ray, ray.hire, 2).spread([5]))


def test_a_full_cluster_is_not_waited_for_for_ever():
    ray = Ray(abs, free=False)
    with pytest.raises(EngineError, match=r"no worker could start .* free CPU"):
        list(Crew(ray, ray.hire, 2).spread([5]))


def test_the_telling_line_of_a_dead_process_is_how_it_ended():
    text = "The actor died.\n\tpid: 7\nIt is dead. Worker exit type: X Worker exit detail: killed, out of memory"
    assert telling_line(RayError(text)) == "killed, out of memory"
    assert telling_line(RayError()) == "RayError"
