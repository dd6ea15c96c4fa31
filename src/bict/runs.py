"""A run directory holds one configuration: the same one may continue, another one is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bict.errors import RunError

FILE = "settings.json"


def claim(directory: Path, settings: dict[str, Any]) -> None:
    """Make the directory the run of these settings, or check that it already is.

    Raises:
        RunError: it cannot be written, it holds other files, or it holds a run with other settings.
    """
    resolved = json.loads(json.dumps(settings))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        found = _read(directory)
        if found is None and any(not entry.name.endswith(_part(FILE)) for entry in directory.iterdir()):
            raise RunError(f"{directory} holds files of something else: choose another --out")
        if found is None:
            write_json(directory / FILE, resolved)
    except OSError as error:
        raise RunError(f"{directory} cannot be written ({error.strerror}): choose another --out") from error
    if found is not None and found != resolved:
        difference = _difference(found, resolved)
        raise RunError(f"{directory} holds a run with {difference}: choose another --out, or delete it")
    if not os.access(directory, os.W_OK):
        raise RunError(f"{directory} cannot be written (no permission): choose another --out")


def require_writable(directory: Path) -> None:
    """Make a directory, so that a place that cannot be written is found before the work and not after it.

    Raises:
        RunError: it cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{directory} cannot be written ({error.strerror}): choose another place") from error
    if not os.access(directory, os.W_OK):
        raise RunError(f"{directory} cannot be written (no permission): choose another place")


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401  (any JSON)
    """Write JSON by renaming a finished file, so that a kill leaves the old file or the new one."""
    temporary = path.with_name(f"{os.getpid()}-{_part(path.name)}")  # two processes may write at once
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    temporary.replace(path)


def _part(name: str) -> str:
    """Name of a file that is not finished yet; a kill may leave it behind."""
    return name + ".part"


def _read(directory: Path) -> dict[str, Any] | None:
    path = directory / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise RunError(f"{path} is damaged: delete {directory}, or choose another --out") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: delete {directory}, or choose another --out")
    return content


def _difference(found: dict[str, Any], asked: dict[str, Any], prefix: str = "") -> str:
    """The first setting that differs, as `key = found value, not asked value`."""
    for key in sorted({*found, *asked}):
        old, new = found.get(key), asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            return _difference(old, new, f"{prefix}{key}.")
        if old != new:
            return f"{prefix}{key} = {old!r}, not {new!r}"
    return "other settings"
