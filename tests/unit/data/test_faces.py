from __future__ import annotations

import numpy as np
import pytest

from bict.data.faces import load_face_pairs
from bict.errors import DataError, UnknownName

PAIRS = "path_a,path_b,same\nann/1.jpg,ann/2.jpg,1\nbob/1.jpg,ann/1.jpg,0\nbob/1.jpg,bob/1.jpg,True\n"


@pytest.fixture
def faces(tmp_path, photo):
    """Writes a list of pairs beside the folder `crops`, which holds three photos."""

    def write(text: str = PAIRS):
        for number, name in enumerate(("ann/1.jpg", "ann/2.jpg", "bob/1.jpg")):
            photo(tmp_path / "crops" / name, (60 * number, 90, 30))
        (tmp_path / "pairs.txt").write_text(text)
        return tmp_path / "pairs.txt", tmp_path / "crops"

    return write


def test_every_image_once_and_pairs_as_rows(faces):
    pairs = load_face_pairs(*faces(), strict=True)
    assert pairs.images.ids.tolist() == ["ann/1.jpg", "ann/2.jpg", "bob/1.jpg"]
    assert (pairs.images.name, pairs.images.kind) == ("pairs", "photos")
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0, 2, 2], [1, 0, 2])
    assert (pairs.same.tolist(), pairs.same.dtype) == ([True, False, True], bool)
    assert (len(pairs), pairs.left_out) == (3, 0)
    np.testing.assert_allclose(pairs.images.pixels(pairs.first, 8, 3)[:, 4, 4, 0], [0, 120, 120], atol=3)


def test_paths_are_relative_to_the_list_unless_a_folder_is_named(faces):
    path, folder = faces()
    moved = path.rename(folder / "pairs.csv")
    assert len(load_face_pairs(moved)) == 3
    assert len(load_face_pairs(moved, folder)) == 3


def test_pairs_with_an_unreadable_image_are_left_out_and_counted(faces):
    path, folder = faces()
    (folder / "ann/1.jpg").write_bytes(b"x")
    pairs = load_face_pairs(path, folder)
    assert pairs.images.ids.tolist() == ["ann/2.jpg", "bob/1.jpg"]
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.same.tolist()) == ([1], [1], [True])
    assert (pairs.left_out, pairs.images.skipped) == (2, ("ann/1.jpg (truncated or no image)",))
    with pytest.raises(DataError, match=r"^1 of 3 images cannot be read, the first is ann/1\.jpg"):
        load_face_pairs(path, folder, strict=True)


def test_no_pair_left_is_refused(faces):
    path, folder = faces("path_a,path_b,same\nann/1.jpg,ann/2.jpg,1\n")
    (folder / "ann/1.jpg").unlink()
    with pytest.raises(DataError, match=r"^none of 1 pairs of .*pairs\.txt has two images that can be read$"):
        load_face_pairs(path, folder)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("path_a,path_b\na,b\n", DataError, "has 0 columns 'same', expected one: found path_a, path_b"),
        ("path_a,path_b,same\nann/1.jpg,bob/1.jpg,2\n", UnknownName, "value of same in pairs.txt, row 1: '2'"),
        ("path_a,path_b,same\nann/1.jpg,bob/1.jpg,tru\n", UnknownName, "did you mean 'true'?"),
        ("path_a,path_b,same\nann/1.jpg,bob/1.jpg,1\n,bob/1.jpg,1\n", DataError, "row 2: path_a and path_b must not"),
        ("path_a,path_b,same\n", DataError, "holds no pairs"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_in_one_line(faces, text, error, message):
    with pytest.raises(error) as caught:
        load_face_pairs(*faces(text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
