"""Small models and image sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bict.data.images import ArrayPixels, FilePixels, ImageSet
from bict.models import Encoder, Model, Preprocessing, default_preprocessing, make_model


def build(
    backbone: str = "conv-small",
    pooling: str = "gem",
    dim: int = 16,
    channels: int = 1,
    size: int = 16,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    **options: object,
) -> Model:
    torch.manual_seed(seed)
    preprocessing = preprocessing or default_preprocessing(backbone, channels, size)
    encoder = Encoder(backbone, pooling, dim, channels)
    shape = {"backbone": backbone, "pooling": pooling, "neck_dim": dim, "preprocessing": preprocessing}
    return make_model(encoder, **{"name": "made", **shape, **options})


def images_of(source, rows: int, kind: str) -> ImageSet:
    ids = np.array([f"image-{row}" for row in range(rows)])
    labels = np.array([f"class-{row % 3}" for row in range(rows)])
    return ImageSet("made", kind, ids, labels, np.full(rows, ""), source)


@pytest.fixture
def model():
    return build


@pytest.fixture
def characters():
    array = np.random.default_rng(0).integers(0, 256, (11, 16, 16), dtype=np.uint8)
    return images_of(ArrayPixels(array), 11, "characters")


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / "photos" / f"{row}.png" for row in range(7)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return images_of(FilePixels(paths), 7, "photos")


@pytest.fixture(scope="session")
def grocery():
    """Folder of shop photos that the repository does not hold."""
    folder = Path(__file__).parents[4] / "shared" / "data" / "grocery"
    if not folder.is_dir():
        pytest.skip(f"no data folder {folder}")
    return folder
