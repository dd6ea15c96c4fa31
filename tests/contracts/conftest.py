"""A fresh address for each store."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def store_addresses(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Gives a new unused address of a store, by the store's name in `STORES`."""
    number = itertools.count()
    makers: dict[str, Callable[[], str]] = {
        "lance": lambda: str(tmp_path / f"store-{next(number)}"),
        "qdrant": lambda: f"qdrant://{tmp_path}/qdrant-{next(number)}?collection=items",
    }
    return lambda name: makers[name]()
