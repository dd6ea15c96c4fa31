import threading

import pytest

from bict.engine import overlap


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
