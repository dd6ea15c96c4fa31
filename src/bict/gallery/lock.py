"""One upgrade of a gallery at a time: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import getpass
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bict.errors import GalleryError


def _machine() -> str:
    """What process ids of this process are ids in: a boot of a machine, and a container on it."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return os.uname().nodename


MACHINE = _machine()
HELD: dict[str, Callable[[], bool]] = {}
"""Places that this process has a lease on, with what says whether it still has."""


class Owner(BaseModel):
    """Who holds a lock, for the message that another one gets."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user: str
    host: str
    pid: int
    machine: str = ""
    since: datetime
    doing: str

    def __str__(self) -> str:
        return f"{self.user}, process {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC: {self.doing}"


def this_process(doing: str) -> Owner:
    """The owner that this process would be."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        user = str(os.getuid())
    here = {"host": os.uname().nodename, "pid": os.getpid(), "machine": MACHINE}
    return Owner(user=user, since=datetime.now(UTC), doing=doing, **here)


def refuse_second(address: str, text: str) -> GalleryError:
    """The refusal of a second upgrade, naming the first one's owner from what it wrote down."""
    try:
        owner = str(Owner.model_validate_json(text))
    except ValidationError:
        owner = "another process"
    return GalleryError(f"{address} is being worked on by {owner}; see bict upgrade status, and run again after it")


def has_ended(text: str) -> bool:
    """Whether an owner, from what it wrote down, is a process of this machine that is no more."""
    try:
        owner = Owner.model_validate_json(text)
    except ValidationError:
        return False
    return owner.machine == MACHINE and not _runs(owner.pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lease_is_over(note: Mapping[str, Any], dead_seconds: float) -> bool:
    """Whether a lease's holder is silent for too long, or a process of this machine that is no more."""
    return time.time() - float(note.get("beat", 0)) > dead_seconds or has_ended(str(note.get("owner", "")))


def require_held(place: str) -> None:
    """Refuse to write where this process had a lease, was silent for too long, and another one took over.

    Raises:
        GalleryError: it lost its lease.
    """
    for held, is_own in HELD.items():
        if place.startswith(held) and not is_own():
            raise GalleryError(
                f"{held} was taken over by another process while this one was silent: nothing more is written here; "
                "see bict upgrade status"
            )


@contextmanager
def beating(place: str, is_own: Callable[[], bool], beat: Callable[[], object], seconds: float) -> Iterator[None]:
    """Renew a lease by a thread until this ends; a beat that fails is left to the next one."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(seconds):
            with suppress(Exception):  # whatever a network can do: without the thread the lease would run out
                beat()

    thread = threading.Thread(target=renew, daemon=True)
    HELD[place] = is_own
    thread.start()
    try:
        yield
    finally:
        del HELD[place]
        ended.set()
        thread.join()


@contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Hold an advisory lock on a file for a moment, waiting for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_file(path: Path, doing: str, address: str) -> Iterator[None]:
    """Hold an advisory lock on a file; the system releases it when the process ends, however it ends.

    Raises:
        GalleryError: another process holds it, named with its user, host, process and time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise refuse_second(address, file.read()) from error
        file.truncate(0)
        file.write(this_process(doing).model_dump_json())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
