"""Seconds per step of a run, kept across kills and resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bict.progress import Progress, Steps
from bict.runs import write_json


class Clock:
    """Times named steps; a step that a later start finds done keeps the seconds it took when it was done."""

    def __init__(self, path: Path, steps: Steps) -> None:
        self.path, self.steps = path, steps
        self.seconds: dict[str, float] = self._read()

    @contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Time a step and tell the outside of its progress."""
        began = time.perf_counter()
        with self.steps(name) as progress:
            yield progress
        taken = round(time.perf_counter() - began, 3)
        self.seconds = {**self._read(), **self.seconds}  # another process may have been here
        self.seconds[name] = max(taken, self.seconds.get(name, 0.0))
        write_json(self.path, self.seconds)

    def _read(self) -> dict[str, float]:
        """What is in the file; times that cannot be read are no reason to stop."""
        try:
            found: dict[str, float] = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return found
