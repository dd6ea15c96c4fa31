"""Where work runs."""

from bict.engine.local import overlap

__all__ = ["overlap"]
