from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bict.data.omniglot import FILE, load_omniglot, shrink
from bict.errors import DataError


def packed(rng: np.random.Generator, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    drawings = rng.integers(0, 2, (len(classes), 784), dtype=np.uint8)
    return np.packbits(drawings, axis=1), np.array(classes, dtype=np.int16)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Two training classes, drawn alternately, and two evaluation classes."""
    rng = np.random.default_rng(0)
    xb, yb = packed(rng, [0, 1, 0, 1, 1])
    xe, ye = packed(rng, [0, 0, 2])
    return {"xb": xb, "yb": yb, "xe": xe, "ye": ye}


def test_the_official_parts_of_the_real_file(data_root):
    images = load_omniglot(data_root)
    train, evaluation = (images.take(images.parts == part) for part in ("train", "evaluation"))
    assert (len(images), len(images.classes())) == (32_460, 1_623)
    assert (len(train.classes()), len(evaluation.classes())) == (964, 659)
    assert set(np.unique(images.labels, return_counts=True)[1]) == {20}
    assert len(np.unique(images.ids)) == len(images)
    assert images.kind == "characters"
    pixels = images.pixels(np.arange(200), 28, 1)
    assert set(np.unique(pixels)) == {0, 255}
    assert 0.02 < (pixels == 255).mean() < 0.4


def test_a_packed_file_is_sorted_by_class_and_numbered(tmp_path, arrays):
    np.savez(tmp_path / FILE, **arrays)
    images = load_omniglot(tmp_path)
    assert images.ids.tolist() == [
        *("train-0000/01", "train-0000/02", "train-0001/01", "train-0001/02", "train-0001/03"),
        *("evaluation-0000/01", "evaluation-0000/02", "evaluation-0002/01"),
    ]
    assert images.labels.tolist() == [name.split("/")[0] for name in images.ids.tolist()]
    assert images.parts.tolist() == ["train"] * 5 + ["evaluation"] * 3
    bits = np.unpackbits(arrays["xb"], axis=1).reshape(-1, 28, 28)
    np.testing.assert_array_equal(images.pixels(np.arange(5), 28, 1)[..., 0], bits[[0, 2, 1, 3, 4]] * 255)


def damage(arrays: dict[str, np.ndarray], how: str) -> dict[str, np.ndarray]:
    changed = {
        "missing": {"xe": None},
        "narrow": {"xb": arrays["xb"][:, :-1]},
        "float drawings": {"xb": arrays["xb"].astype(float)},
        "float classes": {"yb": arrays["yb"].astype(float)},
        "negative class": {"yb": arrays["yb"] - 1},
        "too few classes": {"ye": arrays["ye"][:-1]},
        "empty": {"xe": arrays["xe"][:0], "ye": arrays["ye"][:0]},
        "pickled": {"yb": arrays["yb"].astype(object)},
    }[how]
    return {key: value for key, value in (arrays | changed).items() if value is not None}


@pytest.mark.parametrize(
    "how",
    ["missing", "narrow", "float drawings", "float classes", "negative class", "too few classes", "empty", "pickled"],
)
def test_a_file_of_other_content_is_refused(tmp_path, arrays, how):
    np.savez(tmp_path / FILE, **damage(arrays, how))
    with pytest.raises(DataError) as caught:
        load_omniglot(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / FILE} is not the packed Omniglot file (xb, yb, xe, ye): ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 5, 100, -30])
def test_a_truncated_file_is_refused(tmp_path, arrays, cut):
    np.savez_compressed(tmp_path / FILE, **arrays)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[:cut])
    with pytest.raises(DataError, match="is not the packed Omniglot file"):
        load_omniglot(tmp_path)


def test_flipped_bytes_of_the_drawings_are_noticed(tmp_path, arrays):
    np.savez_compressed(tmp_path / FILE, **arrays)
    content = bytearray((tmp_path / FILE).read_bytes())
    start = content.index(b"xb.npy") + 60
    for place in range(start, start + 40):
        content[place] ^= 0xFF
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DataError, match="is not the packed Omniglot file"):
        load_omniglot(tmp_path)


def test_absent_and_not_to_be_fetched_names_the_option(tmp_path, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DataError) as caught:
        load_omniglot(tmp_path)
    assert str(caught.value).startswith(f"no {FILE} in {tmp_path} and Omniglot cannot be fetched (")
    assert str(caught.value).endswith("name the folder that holds it with --data-root")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_data_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be fetched"):
        load_omniglot(tmp_path / "file")


def test_shrink_turns_ink_bright_and_keeps_its_place():
    drawing = Image.new("1", (105, 105), 1)
    ImageDraw.Draw(drawing).rectangle((15, 30, 44, 89), fill=0)
    small = shrink(drawing)
    expected = np.zeros((28, 28), np.uint8)
    expected[8:24, 4:12] = 255
    np.testing.assert_array_equal(small, expected)
    assert small.dtype == np.uint8


def test_shrink_keeps_thin_lines_and_blank_paper():
    assert not shrink(Image.new("L", (105, 105), 255)).any()
    drawing = Image.new("L", (105, 105), 255)
    ImageDraw.Draw(drawing).line((52, 0, 52, 104), fill=0, width=2)
    assert (shrink(drawing) == 255).any(axis=1).all()
