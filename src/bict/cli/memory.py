"""Keeps the memory of a long-running command flat."""

from __future__ import annotations

import ctypes
import sys

M_ARENA_MAX = -8  # from glibc's malloc.h
ARENAS = 2


def few_arenas() -> None:
    """Let glibc keep freed memory in two places at most, else every thread that ever ran keeps some of its own.

    As MALLOC_ARENA_MAX=2 would, which a process cannot set for itself; nothing happens under another C library.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_ARENA_MAX, ARENAS)
