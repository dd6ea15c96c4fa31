"""What several folders of tests need: real pictures of classes that a small network can tell apart."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from bict.data.glyphs import font_faces

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

os.environ.setdefault("HF_HUB_OFFLINE", "1")
SHARED = Path(__file__).parents[2] / "shared" / "data"
CHARACTERS = "ABDEGHKMNPRSTXYZ"


def draw_character(character: str, face: Path, size: int, angle: float) -> Image.Image:
    """A dark character on a light photo-like square."""
    image = Image.new("RGB", (size, size), (235, 230, 220))
    font = ImageFont.truetype(str(face), int(size * 0.75))
    ImageDraw.Draw(image).text((size / 2, size / 2), character, fill=(30, 40, 60), font=font, anchor="mm")
    return image.rotate(angle, fillcolor=(235, 230, 220))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 classes with 12 pictures each, 32x32 PNG."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    faces = list(font_faces().values())[:12]
    for character in CHARACTERS:
        (root / character).mkdir()
        for number, face in enumerate(faces):
            draw_character(character, face, 32, rng.uniform(-10, 10)).save(root / character / f"{number:02d}.png")
    return root


@pytest.fixture(scope="session")
def omniglot_root() -> Path:
    """The folder of omniglot28.npz."""
    if not (SHARED / "omniglot28.npz").exists():
        pytest.skip(f"no omniglot28.npz in {SHARED}")
    return SHARED


@pytest.fixture
def qdrant_server(tmp_path: Path) -> Iterator[tuple[object, int]]:
    """A stand-in for a Qdrant server on the loopback interface, with Qdrant's own engine behind it, and its port."""
    pytest.importorskip("qdrant_edge")
    from tests.qdrant_server import serving  # noqa: PLC0415

    with serving(tmp_path / "qdrant-server") as running:
        yield running


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where an object storage answers that speaks S3."""
    from tests.s3_server import serving  # noqa: PLC0415

    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh place in an object storage, with the environment that leads there."""
    from bict.gallery.stores.lance_bucket import storage  # noqa: PLC0415
    from tests.s3_server import BUCKET  # noqa: PLC0415

    settings = {"ACCESS_KEY_ID": "somebody", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in {**settings, "ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    storage.cache_clear()
    yield f"s3://{BUCKET}/{uuid.uuid4().hex}"
    storage.cache_clear()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with pgvector, reached by a socket or, with a password, by the loopback interface."""
    pytest.importorskip("psycopg")
    from tests.postgres_server import serving  # noqa: PLC0415

    with serving() as server:
        yield server
