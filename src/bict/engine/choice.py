"""The engines there are, by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from bict.engine.base import Engine
from bict.engine.local import LocalEngine
from bict.engine.ray import RayEngine
from bict.errors import SettingsError, UnknownName

Opened = AbstractContextManager[Engine]


def _local(address: str | None, workers: int | None) -> Opened:
    for option, value in (("--address", address), ("--workers", workers)):
        if value is not None:
            raise SettingsError(f"found {option} {value} with the engine local, expected it with --engine ray only")
    return nullcontext(LocalEngine())


ENGINES: dict[str, Callable[[str | None, int | None], Opened]] = {"local": _local, "ray": RayEngine}


def open_engine(name: str, *, address: str | None = None, workers: int | None = None) -> Opened:
    """An engine by its name in `ENGINES`, started when the context begins and left when it ends.

    Args:
        name: `local` or `ray`.
        address: of a Ray cluster; None starts one on this machine.
        workers: processes of Ray that work at the same time; None for one per CPU of the cluster.

    Raises:
        UnknownName: no such engine.
        SettingsError: options that the engine does not take.
        MissingExtra: Ray is not installed.
        EngineError: the cluster cannot be reached.
    """
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    return ENGINES[name](address, workers)
