"""A boundary that an upgrade cannot leave: other files and network sockets are refused, opened files are listed."""

from __future__ import annotations

import os
import site
import socket
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bict.errors import PrivacyError

LIBRARY_SUFFIXES = frozenset({".pyi", ".pth", ".json", ".toml", ".cfg", ".pem", ".txt"})
CODE_SUFFIXES = frozenset({".py", ".pyc", ".so", ".pyd", ".dylib"})
DEVICES = frozenset({"/dev/null", "/dev/urandom", "/dev/random", "/dev/tty"})
KERNEL = ("/proc", "/sys")
SPAWNING = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"}
)
SOCKETS = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"})
LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})


@dataclass
class OpenLog:
    """What happened within a boundary: files opened (not the interpreter's and its packages' own), and refusals."""

    allowed: tuple[str, ...]
    servers: tuple[tuple[str, int], ...] = ()
    opened: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


_active: list[OpenLog] = []


@contextmanager
def within_boundary(*allowed: Path, servers: Sequence[tuple[str, int]] = ()) -> Iterator[OpenLog]:
    """While this lasts, refuse files outside the allowed paths, internet sockets and new processes.

    Python's audit events carry the refusal, so every thread of the process is held to it, and it should not span more
    than the upgrade. Reading code and small data files of the interpreter and installed packages stays possible, as do
    pipes and local sockets. What native code opens by itself raises no audit event: Lance reads and writes below the
    gallery path it was given, and nothing here would see it leave. Boundaries nest; a file must lie within all of them.

    Args:
        allowed: folders or files that may be opened, with everything below them.
        servers: (host, port) of the store's own server, which may be spoken to.

    Raises:
        PrivacyError: inside, from the call that tried to open something else.
    """
    _install()
    log = OpenLog(tuple(os.path.realpath(path) for path in allowed), _with_addresses(servers))
    _active.append(log)
    try:
        yield log
    finally:
        _active.remove(log)


def note_elsewhere(opened: Sequence[str], refused: Sequence[str]) -> None:
    """Count what happened within a boundary of another process, which worked for this one, as if it were here."""
    for log in tuple(_active):
        log.opened += [path for path in opened if path not in log.opened]
        log.refused += refused


@cache
def _install() -> None:
    sys.addaudithook(_hook)  # cannot be taken out again; does nothing while no boundary is active


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active:
        return
    if event == "open":
        _check_open(*arguments)
    elif event in SOCKETS:
        if arguments[0].family in INTERNET and not _is_server(arguments[1]):
            _refuse(f"{event} {arguments[1]}")
    elif event in LOOKUPS:
        if not _is_server((arguments[0], arguments[1] if event == "socket.getaddrinfo" else None)):
            _refuse(f"{event} {arguments[0]}")
    elif event in SPAWNING:
        _refuse(f"{event} {arguments[0] if arguments else ''}".strip())


def _check_open(path: object, _mode: object, flags: int) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a descriptor that is open already
    real = os.path.realpath(os.fsdecode(path))
    if real in DEVICES or _below(real, KERNEL) or _of_a_library(real, flags):
        return
    for log in tuple(_active):
        if not _below(real, log.allowed):
            _refuse(f"file {real}")
        if real not in log.opened:
            log.opened.append(real)


def _with_addresses(servers: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Each server by its name and by every address its name has now."""
    found = list(servers)
    for host, port in servers:
        try:
            found += [(str(info[4][0]), port) for info in socket.getaddrinfo(host, port)]
        except OSError:  # whoever connects will say so
            continue
    return tuple(found)


def _is_server(address: object) -> bool:
    """Whether every active boundary lets this (host, port, ...) be spoken to."""
    if not isinstance(address, tuple) or len(address) < 2:
        return False
    host, port = str(address[0]), address[1]
    return all(
        any(host == name and port in (None, number, str(number)) for name, number in log.servers) for log in _active
    )


def _refuse(what: str) -> None:
    logs = tuple(_active)
    for log in logs:
        log.refused.append(what)
    allowed = ", ".join(path for log in logs[-1:] for path in log.allowed)
    raise PrivacyError(f"refused {what}: an upgrade may open only {allowed}")


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _of_a_library(path: str, flags: int) -> bool:
    file = Path(path)
    if flags & (os.O_WRONLY | os.O_RDWR):  # an import writes its bytecode
        return file.parent.name == "__pycache__" and ".pyc" in file.name and _below(path, _code_folders())
    if file.suffix in CODE_SUFFIXES:
        return _below(path, _code_folders())
    return (file.suffix in LIBRARY_SUFFIXES or file.parent.suffix == ".dist-info") and _below(path, _library_folders())


@cache
def _library_folders() -> tuple[str, ...]:
    """Where the interpreter, installed packages and bict itself lie."""
    standard = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
    folders = (sys.prefix, sys.base_prefix, *standard, *site.getsitepackages(), site.getusersitepackages())
    return tuple({os.path.realpath(folder) for folder in (*folders, str(Path(__file__).parents[1]))})


def _code_folders() -> tuple[str, ...]:
    return (*_library_folders(), *map(os.path.realpath, sys.path))
