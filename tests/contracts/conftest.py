"""A fresh address for each store."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def store_addresses(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Gives a new unused address of a store, by the store's name in `STORES`."""
    number = itertools.count()
    makers: dict[str, Callable[[], str]] = {
        "lance": lambda: str(tmp_path / f"store-{next(number)}"),
        "postgresql": lambda: request.getfixturevalue("postgres").address(f"items_{uuid.uuid4().hex}"),
        "qdrant": lambda: real_qdrant(request) or f"qdrant://{tmp_path}/qdrant-{next(number)}?collection=items",
        "lance over s3": lambda: f"{request.getfixturevalue('bucket')}/store-{next(number)}",
        "qdrant over http": lambda: f"qdrant://127.0.0.1:{port_of(request)}/items-{next(number)}",
    }
    return lambda name: makers[name]()


def port_of(request: pytest.FixtureRequest) -> int:
    """The port of a stand-in for a Qdrant server."""
    return request.getfixturevalue("qdrant_server")[1]


def real_qdrant(request: pytest.FixtureRequest) -> str | None:
    """A collection on the server that BICT_QDRANT_URL names, removed after the test; None without one."""
    url = os.environ.get("BICT_QDRANT_URL")
    if not url:
        return None
    from qdrant_client import QdrantClient  # noqa: PLC0415

    name, parts = f"bict-test-{uuid.uuid4().hex}", urlsplit(url)
    secure = parts.scheme == "https"
    key = {"api-key": os.environ.get("BICT_QDRANT_API_KEY", "")}
    client = QdrantClient(url=url, headers=key, check_compatibility=False)
    request.addfinalizer(client.close)
    for collection in (name, f"{name}__bict"):
        request.addfinalizer(lambda collection=collection: client.delete_collection(collection))
    return f"qdrant://{parts.netloc}/{name}{'?https=1' if secure else ''}"
