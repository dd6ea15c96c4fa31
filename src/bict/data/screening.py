"""Which of the listed images can be used; the others are left out and named, or refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bict.data.images import Box, photo_problem, quiet_decoding
from bict.errors import DataError

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
LOG = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def photo_problems(
    paths: Sequence[Path], progress: Progress | None = None, boxes: Sequence[Box | None] | None = None
) -> list[str]:
    """What is wrong with each file, `(paths,)`, or "" where it decodes and its box, if any, holds some of it."""
    problems = []
    with quiet_decoding(), ThreadPoolExecutor() as pool:
        for done, problem in enumerate(pool.map(_problem, paths, boxes or [None] * len(paths)), 1):
            problems.append(problem)
            if progress is not None and (done % 100 == 0 or done == len(paths)):
                progress(done, len(paths))
    return problems


def leave_out(
    names: Sequence[str], problems: Sequence[str], *, strict: bool, fault: str = "images cannot be read"
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which images are kept, `(names,)`, and the names of the others with what is wrong with them.

    Raises:
        DataError: every image has a problem, or with `strict` any has.
    """
    skipped = tuple(f"{name} ({problem})" for name, problem in zip(names, problems, strict=True) if problem)
    if skipped and (strict or len(skipped) == len(names)):
        raise DataError(f"{len(skipped)} of {len(names)} {fault}, the first is {skipped[0]}")
    if skipped:
        LOG.warning("left out: %d of %d %s: %s", len(skipped), len(names), fault, ", ".join(skipped[:3]))
    return np.array([not problem for problem in problems], bool), skipped


def _problem(path: Path, box: Box | None) -> str:
    return photo_problem(path, box) if path.suffix.lower() in ENDINGS else "no image file"
