from __future__ import annotations

import numpy as np
import pytest

from bict.data.gldv2 import load_gldv2, load_gldv2_retrieval
from bict.errors import DataError, UnknownName


def test_training_images_with_their_landmarks_then_queries_and_gallery(landmarks):
    images = load_gldv2(landmarks, strict=True)
    assert images.ids.tolist() == [
        "bbb3",
        "aaa1",
        "aab2",
        "ccc4",
        "ccd5",
        "dd01",
        "dd03",
        "e001",
        "e002",
        "e103",
        "f004",
    ]
    assert images.labels.tolist() == ["10", "9", "9", "200", "200", *images.ids[5:]]
    assert images.parts.tolist() == ["train"] * 5 + ["query"] * 2 + ["gallery"] * 4
    assert (images.name, images.kind, images.source.own_size, images.skipped) == ("gldv2", "photos", 224, ())
    # the fixture's photo number n of a side is 40 n red: aab2 is the second of train, dd03 the third of test
    np.testing.assert_allclose(images.pixels(np.array([2, 6]), 8, 3)[:, 4, 4, 0], [40, 80], atol=3)


def test_the_benchmark_says_what_each_query_should_find(landmarks):
    benchmark = load_gldv2_retrieval(landmarks, strict=True)
    assert benchmark.query_ids == ["dd01", "dd03"]
    assert benchmark.gallery_ids == ["e001", "e002", "e103", "f004"]
    assert benchmark.relevant == {"dd01": ("e103", "e001"), "dd03": ("f004",)}
    assert benchmark.usage == {"dd01": "private", "dd03": "public"}


def test_each_side_can_be_had_alone(landmarks):
    folder = landmarks / "gldv2"
    for side in ("train", "index"):
        (folder / side).rename(folder / "away")
        images = load_gldv2(landmarks)
        assert ("train" in images.parts) == (side != "train")
        assert ("gallery" in images.parts) == (side != "index")
        (folder / "away").rename(folder / side)
    (folder / "index").rename(folder / "away")
    with pytest.raises(DataError, match="no gldv2 in "):
        load_gldv2_retrieval(landmarks)


def test_missing_images_are_left_out_and_named_or_refused(landmarks):
    folder = landmarks / "gldv2"
    (folder / "train/a/a/b/aab2.jpg").unlink()
    (folder / "index/e/1/0/e103.jpg").unlink()
    (folder / "index/e/1/0").rmdir()
    (folder / "test/d/d/0/dd03.jpg").unlink()
    images = load_gldv2(landmarks)
    assert images.skipped == tuple(
        f"{name} (no such file)" for name in ("train/a/a/b/aab2.jpg", "test/d/d/0/dd03.jpg", "index/e/1/0/e103.jpg")
    )
    assert images.ids.tolist() == ["bbb3", "aaa1", "ccc4", "ccd5", "dd01", "e001", "e002", "f004"]
    assert images.pixels(np.arange(8), 8, 3).shape == (8, 8, 8, 3)
    benchmark = load_gldv2_retrieval(landmarks)
    assert (benchmark.relevant, benchmark.usage) == ({"dd01": ("e001",)}, {"dd01": "private"})
    with pytest.raises(DataError) as caught:
        load_gldv2(landmarks, strict=True)
    missing = "1 of 5 images of train_clean.csv are missing, the first is train/a/a/b/aab2.jpg (no such file)"
    assert str(caught.value) == missing


def test_nothing_there_is_refused_with_the_layout(landmarks, tmp_path):
    with pytest.raises(DataError) as caught:
        load_gldv2(tmp_path / "empty")
    assert "name the folder that holds gldv2/train_clean.csv and gldv2/train/a/b/c/abc*.jpg" in str(caught.value)
    assert "--data-root" in str(caught.value)
    (landmarks / "gldv2" / "index.csv").unlink()
    with pytest.raises(DataError, match=r"^no .*/gldv2/index\.csv: expected gldv2/train_clean\.csv"):
        load_gldv2(landmarks)


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("train_clean.csv", "landmark,images\n9,aaa1\n", DataError, "has 0 columns 'landmark_id', expected one: found"),
        ("train_clean.csv", "landmark_id,images\n9,aaa1 aaa1\n", DataError, "^1 images are listed twice"),
        ("train_clean.csv", "landmark_id,images\n9,aaa1\n10,e001\n", DataError, "1 of 2 images of train_clean.csv are"),
        ("train_clean.csv", "landmark_id,images\n9,../../x\n", DataError, "found the image id '../../x'"),
        ("train_clean.csv", "landmark_id,images\n9,ab\n", DataError, "found the image id 'ab'"),
        (
            "index.csv",
            "id\ne001\ne002\nf004\n",
            DataError,
            "^1 images of retrieval_.* not in index.csv, the first is e103",
        ),
        ("retrieval_solution_v2.1.csv", "id,images,Usage\ndd01,e001,Privat\n", UnknownName, "did you mean 'Private'"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_in_one_line(landmarks, file, content, error, message):
    (landmarks / "gldv2" / file).write_text(content)
    with pytest.raises(error, match=message) as caught:
        load_gldv2(landmarks, strict=True)
    assert "\n" not in str(caught.value)


def test_lists_of_no_images_are_refused(landmarks):
    folder = landmarks / "gldv2"
    (folder / "index").rename(folder / "away")
    (folder / "train_clean.csv").write_text("landmark_id,images\n")
    with pytest.raises(DataError, match="list no images"):
        load_gldv2(landmarks)
