"""Work spread over the processes of a Ray cluster, or of a Ray on this machine; Ray only schedules."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any, Self

from bict.engine.base import Item, Result, Spread
from bict.engine.crew import Crew, telling_line
from bict.errors import EngineError, MissingExtra, SettingsError

WORKERS_PER_GPU = 4
ANSWER_SECONDS = 10.0
SEE = "see to it with ray status, then run again"
OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray started here: functions and results are small, rows never pass through Ray."""
SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_PROMPT_ENABLED": "0"}
"""A Ray started here tells nobody about its use."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LANCE_CPU_THREADS")


class RayEngine:
    """Each worker is an actor with one CPU, and a quarter of a GPU where there is one that helps."""

    remote = True

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise SettingsError(f"found {workers} workers, expected at least 1")
        self.address, self.count = address, workers
        self._own, self._version = False, version("bict")  # asked for before a boundary is drawn

    def __enter__(self) -> Self:
        ray = module()
        if not ray.is_initialized():
            if self.address is not None:
                _require_answer(self.address)
            with _quiet(ray):
                _connect(ray, self.address, self.count)
            self._own = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            module().shutdown()
            self._own = False

    @contextmanager
    def workers(
        self, function: Callable[[Item], Result], *, gpu: bool = False, at_once: int = 1
    ) -> Iterator[Spread[Item, Result]]:
        """Actors that are started with the first items; each is given one item at a time, as it has one CPU.

        An item whose worker died is given to a new one, three times in all.
        """
        del at_once
        ray = module()
        resources = ray.cluster_resources()
        cpus, gpus = max(int(resources.get("CPU", 0)), 1), int(resources.get("GPU", 0)) if gpu else 0
        most = min(cpus, WORKERS_PER_GPU * gpus) if gpus else cpus
        actor = ray.remote(num_cpus=1, num_gpus=1 / WORKERS_PER_GPU if gpus else 0, max_restarts=0)(Worker)
        pickled = ray.put(ray.cloudpickle.dumps(function))
        crew = Crew[Item, Result](ray, lambda: actor.remote(pickled, self._version), self.count or most)
        try:
            yield crew.spread
        finally:
            crew.dismiss()


class Worker:
    """What runs in a process of its own: holds the function, and runs it on one item after the other."""

    def __init__(self, function: bytes, expected: str) -> None:
        if version("bict") != expected:
            raise EngineError(f"a worker has bict {version('bict')}, expected {expected}: install the same everywhere")
        for name in THREADS:  # before the libraries that read them are loaded
            os.environ[name] = "1"
        from ray import cloudpickle  # noqa: PLC0415

        self._function = cloudpickle.loads(function)

    def begin(self) -> None:
        """Nothing: that it returns says that the function is there."""

    def run(self, item: Any) -> Any:  # noqa: ANN401  (any item, any result)
        """The function's result."""
        return self._function(item)


def module() -> ModuleType:
    """The module ray.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ray  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    return ray


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would try for a quarter of an hour.

    Raises:
        EngineError: nobody does.
        SettingsError: it is no address of a cluster that this process can be a driver of.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(
            f"found the Ray address {address}, expected auto, on a machine of the cluster, or HOST:PORT"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:  # a port beyond 65535 is the latter
        raise EngineError(f"{_unreachable(address)} ({getattr(error, 'strerror', '') or error}): {SEE}") from error


def _unreachable(address: str) -> str:
    return f"Ray at {address} cannot be reached"


def _connect(ray: ModuleType, address: str | None, workers: int | None) -> None:
    """Join a cluster, or start a Ray on this machine.

    Raises:
        EngineError: it cannot be reached or started.
    """
    quiet: dict[str, Any] = {"configure_logging": False, "logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        quiet |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address=address or "local", **quiet)
    except Exception as error:  # of many kinds
        where = _unreachable(address) if address else "a local Ray cannot be started"
        raise EngineError(f"{where} ({telling_line(error)}): {SEE}") from error


@contextmanager
def _quiet(ray: ModuleType) -> Iterator[None]:
    """Have Ray write nothing to stdout, nobody be told of its use, and no working directory be sent to the workers."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray._private.ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # under `uv run` it would send the directory
    ray._private.worker._worker_logs_enabled = False  # it would write of dead workers to stdout
    before = {name: os.environ.get(name) for name in SILENT}
    os.environ.update(SILENT)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "lance is not fork-safe")  # a fork that at once becomes another program
            yield
    finally:
        os.environ.update({name: value for name, value in before.items() if value is not None})
        for name in (name for name, value in before.items() if value is None):
            del os.environ[name]
