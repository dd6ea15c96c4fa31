from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from bict.data.revisited import load_revisited
from bict.errors import DataError, UnknownName
from bict.evaluation.landmarks import RevisitedTruth

RED, BLUE = (200, 30, 30), (30, 30, 200)


def ground_truth() -> dict:
    return {
        "imlist": ["hall_1", "hall_2", "tower_1", "tower_2"],
        "qimlist": ["hall_9", "tower_9"],
        "gnd": [
            {"bbx": [10.4, 0.0, 19.6, 9.5], "easy": np.array([1]), "hard": np.array([0]), "junk": np.array([], int)},
            {"bbx": np.array([-3.5, 0, 60, 99]), "easy": [], "hard": [2, 3], "junk": (0,)},
        ],
    }


@pytest.fixture
def oxford(tmp_path, photo):
    """Writes a ground truth, and beside it four gallery photos and two queries; the first is red, its box blue."""

    def write(content: object = None, name: str = "roxford5k"):
        folder = tmp_path / name
        for image in ("hall_1", "hall_2", "tower_1", "tower_2", "tower_9"):
            photo(folder / "jpg" / f"{image}.jpg", RED, (30, 20))
        picture = Image.new("RGB", (30, 20), RED)
        picture.paste(BLUE, (10, 0, 20, 10))
        picture.save(folder / "jpg" / "hall_9.jpg", quality=95, subsampling=0)
        content = ground_truth() if content is None else content
        (folder / f"gnd_{name}.pkl").write_bytes(pickle.dumps(content, protocol=2))
        return tmp_path

    return write


def test_queries_and_gallery_with_what_is_to_be_found(oxford):
    benchmark = load_revisited("roxford", oxford(), strict=True)
    images = benchmark.images
    assert images.ids.tolist() == ["hall_9", "tower_9", "hall_1", "hall_2", "tower_1", "tower_2"]
    assert images.parts.tolist() == ["query"] * 2 + ["gallery"] * 4
    assert images.labels.tolist() == images.ids.tolist()
    assert (images.name, images.kind, images.source.own_size) == ("roxford", "photos", 224)
    assert benchmark.truth == {
        "hall_9": RevisitedTruth(easy=("hall_2",), hard=("hall_1",)),
        "tower_9": RevisitedTruth(hard=("tower_1", "tower_2"), junk=("hall_1",)),
    }
    assert load_revisited("rparis", oxford(name="rparis6k")).images.name == "rparis"


def test_queries_are_cropped_to_their_box_and_the_gallery_is_not(oxford):
    images = load_revisited("roxford", oxford()).images
    pixels = images.pixels(np.arange(6), 8, 3).astype(int)
    np.testing.assert_allclose(pixels[0].reshape(-1, 3), [BLUE] * 64, atol=12)
    np.testing.assert_allclose(pixels[1:].reshape(-1, 3), [RED] * 320, atol=12)
    gallery = images.take(np.flatnonzero(images.parts == "gallery"))
    np.testing.assert_array_equal(gallery.pixels(np.arange(4), 8, 3), pixels[2:])
    query = images.take(np.array([1, 0]))
    np.testing.assert_array_equal(query.pixels(np.array([1]), 8, 3)[0], pixels[0])


def test_unreadable_images_are_left_out_of_the_lists_too(oxford):
    root = oxford()
    (root / "roxford5k/jpg/tower_2.jpg").write_bytes(b"x")
    (root / "roxford5k/jpg/hall_9.jpg").unlink()
    benchmark = load_revisited("roxford", root)
    assert benchmark.images.ids.tolist() == ["tower_9", "hall_1", "hall_2", "tower_1"]
    assert benchmark.images.skipped == ("hall_9 (no such file)", "tower_2 (truncated or no image)")
    assert benchmark.truth == {"tower_9": RevisitedTruth(hard=("tower_1",), junk=("hall_1",))}
    assert benchmark.images.pixels(np.arange(4), 8, 3).shape == (4, 8, 8, 3)
    with pytest.raises(DataError, match=r"^2 of 6 images cannot be read, the first is hall_9 \(no such file\)$"):
        load_revisited("roxford", root, strict=True)


def test_a_box_outside_its_image_is_an_unreadable_query(oxford):
    content = ground_truth()
    content["gnd"][0]["bbx"] = (30.0, 0.0, 60.0, 20.0)
    with pytest.raises(DataError, match=r"hall_9 \(its box \(30\.0, 0\.0, 60\.0, 20\.0\) holds no pixel of 30x20\)"):
        load_revisited("roxford", oxford(content), strict=True)


def test_progress_ends_with_all_images(oxford):
    seen = []
    load_revisited("roxford", oxford(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(6, 6)]


def test_nothing_there_is_refused_with_the_layout(oxford):
    root = oxford()
    with pytest.raises(DataError) as caught:
        load_revisited("rparis", root)
    assert f"no rparis in {root}: name the folder that holds rparis6k/gnd_rparis6k.pkl and rparis6k/jpg/*.jpg" in str(
        caught.value
    )
    with pytest.raises(UnknownName, match=r"'roxfrd': did you mean 'roxford'\?"):
        load_revisited("roxfrd", root)


def change(**values: object):
    return {**ground_truth(), **values}


def change_entry(**values: object):
    content = ground_truth()
    content["gnd"][1].update(values)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "found list, expected 'imlist'"),
        ({"imlist": ["a"], "gnd": []}, "found imlist, gnd, expected 'qimlist'"),
        (change(imlist=[]), "found something else than names in imlist, or nothing"),
        (change(qimlist=["a", 3]), "found something else than names in qimlist, or nothing"),
        (change(imlist="abc"), "found str as imlist, expected a list"),
        (change(qimlist=["x"]), "found 2 entries in gnd, expected one for each of 1 queries"),
        (change(qimlist=["hall_1", "x"]), "found 1 images twice, expected queries that are not in the gallery"),
        (change(gnd=[1, 2]), "found int, expected 'bbx'"),
        (change_entry(junk=[4]), "found 4 in junk of tower_9, expected places in an imlist of 4"),
        (change_entry(easy=[-1]), "found -1 in easy of tower_9"),
        (change_entry(hard=[1.5]), "found 1.5 in hard of tower_9"),
        (change_entry(bbx=[1, 2, 3]), "of tower_9, expected four numbers"),
        (change_entry(bbx=[1, 2, 3, float("nan")]), "of tower_9, expected four numbers"),
    ],
)
def test_what_is_no_ground_truth_is_refused_in_one_line(oxford, content, message):
    with pytest.raises(DataError) as caught:
        load_revisited("roxford", oxford(content))
    assert "gnd_roxford5k.pkl is no ground truth of a revisited benchmark: found " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
