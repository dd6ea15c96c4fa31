import threading

import pytest

from bict.engine import LocalEngine, overlap


def test_results_come_in_order_with_their_items():
    assert list(overlap(lambda number: number * number, range(20), threads=3)) == [(n, n * n) for n in range(20)]


def test_nothing_gives_nothing():
    assert list(overlap(str, [])) == []


def test_the_next_item_is_computed_while_the_caller_has_the_one_before():
    begun = {number: threading.Event() for number in range(3)}
    for number, _ in overlap(lambda number: begun[number].set(), range(3)):
        if number < 2:
            assert begun[number + 1].wait(5)


def test_items_are_drawn_in_the_callers_thread_and_no_further_ahead_than_asked():
    drawn = []

    def items():
        for number in range(10):
            drawn.append((number, threading.current_thread()))
            yield number

    for number, _ in overlap(str, items(), threads=2):
        assert len(drawn) <= number + 3
    assert {thread for _, thread in drawn} == {threading.current_thread()}


def test_an_error_takes_the_place_of_its_result_and_nothing_runs_after():
    ran = []

    def work(number):
        ran.append(number)
        return 1 / (number - 1)

    results = overlap(work, range(10))
    assert next(results) == (0, -1.0)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert 3 not in ran
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("overlap")]


def test_a_caller_that_stops_early_leaves_no_thread():
    results = overlap(str, range(10), threads=4)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("overlap")]


def test_items_side_by_side_come_in_order_and_an_error_waits_for_what_was_begun():
    both = threading.Barrier(2)

    def work(item):
        if item < 2:
            both.wait(5)
        if item == 2:
            raise ValueError("no")
        return item * item

    found, begun = [], []
    with LocalEngine().workers(lambda item: (begun.append(item), work(item))[1], at_once=2) as spread:
        assert list(spread([0, 1])) == [(0, 0), (1, 1)]
        both.reset()
        begun.clear()
        with pytest.raises(ValueError, match="no"):
            found.extend(spread(range(100)))
    assert {item for item, _ in found} == set(begun) - {2}
    assert len(begun) < 100
