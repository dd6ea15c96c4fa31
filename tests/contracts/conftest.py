"""A fresh address for each store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def store_addresses(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Gives an unused address of a store, by the store's name in `STORES`."""
    makers: dict[str, Callable[[], str]] = {"lance": lambda: str(tmp_path / "store")}
    return lambda name: makers[name]()
