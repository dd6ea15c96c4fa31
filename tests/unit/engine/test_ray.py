"""A real Ray of two CPUs on this machine."""

import os
import signal
import time

import pytest

from bict.engine import open_engine
from bict.errors import EngineError

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def engine():
    with open_engine("ray", workers=2) as opened:
        yield opened
    assert not ray.is_initialized()


def test_items_are_done_in_other_processes_that_hold_the_function_once(engine, tmp_path):
    class Function:
        def __init__(self):
            self.calls = 0

        def __call__(self, item):
            self.calls += 1
            (tmp_path / str(os.getpid())).touch()
            give_up = time.monotonic() + 120
            while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < give_up:  # the other one is still starting
                time.sleep(0.02)
            return os.getpid(), self.calls, os.environ["OMP_NUM_THREADS"]

    with engine.workers(Function()) as spread:
        first, second = dict(spread(range(20))), dict(spread(range(10)))
    results = [*first.values(), *second.values()]
    processes = {process for process, _, _ in results}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert sorted(calls for process in processes for owner, calls, _ in results if owner == process) == sorted(
        number for process in processes for number in range(1, 1 + sum(owner == process for owner, _, _ in results))
    )
    assert {threads for _, _, threads in results} == {"1"}


def test_a_worker_that_is_killed_loses_no_item(engine, tmp_path, capfd):
    def function(item):
        mark = tmp_path / str(item)
        if item % 5 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -item

    with engine.workers(function) as spread:
        assert sorted(spread(range(12))) == [(item, -item) for item in range(12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "10", "5"]
    assert capfd.readouterr().out == ""  # data goes there


def test_a_worker_without_memory_is_named_after_three_tries(engine):
    def function(item):
        return bytearray(2**60)

    with (
        engine.workers(function) as spread,
        pytest.raises(EngineError, match=r"3 workers died over 7 .*fewer --workers"),
    ):
        list(spread([7]))


def test_a_ray_that_the_caller_started_is_used_and_left_running(engine):
    with open_engine("ray") as second, second.workers(abs) as spread:
        assert list(spread([-1])) == [(-1, 1)]
    assert ray.is_initialized()
