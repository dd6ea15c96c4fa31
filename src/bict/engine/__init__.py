"""Where work runs: in this process, or spread over a Ray cluster."""

from __future__ import annotations

from bict.engine.base import Engine, Spread
from bict.engine.choice import ENGINES, open_engine
from bict.engine.local import LocalEngine, overlap

__all__ = ["ENGINES", "Engine", "LocalEngine", "Spread", "open_engine", "overlap"]
