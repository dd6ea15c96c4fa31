import sys

import pytest

from bict.engine import ENGINES, LocalEngine, open_engine
from bict.errors import EngineError, MissingExtra, SettingsError, UnknownName


def test_the_reference_runs_one_item_after_the_other_in_this_process():
    ran = []
    with open_engine("local") as engine, engine.workers(ran.append) as spread:
        assert isinstance(engine, LocalEngine)
        results = spread([3, 1, 2])
        assert next(results) == (3, None)
        assert ran == [3]
        assert [item for item, _ in results] == [1, 2]


def test_names_and_options_that_no_engine_has_are_refused():
    with pytest.raises(UnknownName, match=r"did you mean 'ray'\?"):
        open_engine("rays")
    with pytest.raises(SettingsError, match="--address auto with the engine local"):
        open_engine("local", address="auto")
    with pytest.raises(SettingsError, match="--workers 2 with the engine local"):
        open_engine("local", workers=2)
    with pytest.raises(SettingsError, match="found 0 workers"):
        open_engine("ray", workers=0)
    assert set(ENGINES) == {"local", "ray"}


def test_without_ray_the_install_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'bict\[ray\]'"), open_engine("ray"):
        pass


def test_a_cluster_that_does_not_answer_is_one_line():
    pytest.importorskip("ray")
    with (
        pytest.raises(EngineError, match=r"Ray at 127\.0\.0\.1:1 cannot be reached") as refused,
        open_engine("ray", address="127.0.0.1:1"),
    ):
        pass
    assert "\n" not in str(refused.value)
    with pytest.raises(SettingsError, match="expected auto"), open_engine("ray", address="ray://head"):
        pass


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch):
    ray = pytest.importorskip("ray")

    def none_found(**_: object) -> None:  # what Ray says; whether one runs on this machine is not for a test to decide
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to.")

    monkeypatch.setattr(ray, "init", none_found)
    with (
        pytest.raises(EngineError, match="Ray at auto cannot be reached") as refused,
        open_engine("ray", address="auto"),
    ):
        pass
    assert "\n" not in str(refused.value)
