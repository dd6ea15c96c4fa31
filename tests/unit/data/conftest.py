"""Small image sets and photos written by the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bict.data.images import ArrayPixels, ImageSet


def make_set(labels: Sequence[str], parts: Sequence[str] | None = None, side: int = 8) -> ImageSet:
    """Grey images whose pixels all hold the number of their row."""
    rows = len(labels)
    array = np.broadcast_to(np.arange(rows, dtype=np.uint8)[:, None, None], (rows, side, side))
    ids = np.array([f"image-{row:03d}" for row in range(rows)])
    parts = [""] * rows if parts is None else parts
    return ImageSet("made", "characters", ids, np.array(list(labels)), np.array(parts), ArrayPixels(array))


def write_photo(path: Path, colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (12, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def image_set():
    return make_set


@pytest.fixture
def photo():
    return write_photo


@pytest.fixture
def two_classes(tmp_path):
    """A folder of two classes with two images each."""
    for name in ("cat/1.png", "cat/2.jpg", "dog/1.png", "dog/2.png"):
        write_photo(tmp_path / "pets" / name)
    return tmp_path / "pets"


@pytest.fixture
def landmarks(tmp_path):
    """A data root with Google Landmarks v2 in small: three landmarks, three queries and a gallery of four."""
    folder = tmp_path / "root" / "gldv2"
    for side, images in (
        ("train", "aaa1 aab2 bbb3 ccc4 ccd5"),
        ("test", "dd01 dd02 dd03"),
        ("index", "e001 e002 e103 f004"),
    ):
        for number, image in enumerate(images.split()):
            write_photo(folder / side / image[0] / image[1] / image[2] / f"{image}.jpg", (40 * number, 90, 30))
    (folder / "train_clean.csv").write_text("landmark_id,images\n10,bbb3\n9,aaa1 aab2\n200,ccc4 ccd5\n")
    (folder / "index.csv").write_text("id,url\ne001,x\ne002,y\ne103,z\nf004,\n")
    (folder / "retrieval_solution_v2.1.csv").write_text(
        "id,images,Usage\ndd01,e103 e001,Private\ndd02,None,Ignored\ndd03,f004,Public\n"
    )
    return tmp_path / "root"


@pytest.fixture(scope="session")
def data_root():
    """Folder of the data that the repository does not hold."""
    folder = Path(__file__).parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data folder {folder}")
    return folder
