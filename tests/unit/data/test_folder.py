from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bict.data import SplitPlan, draw_splits
from bict.data.folder import load_folder
from bict.errors import DataError, UnknownName


@pytest.fixture
def manifest(tmp_path, photo):
    """Writes a manifest, and the photos `a.png` to `d.png` beside it."""

    def write(text: str, name: str = "list.csv", folder: str = ".") -> Path:
        path = tmp_path / folder / name
        for stem in "abcd":
            photo(path.parent / f"{stem}.png")
        if path.suffix.lower() == ".csv":
            path.write_text(text, encoding="utf-8")
        else:
            options = pa_csv.ConvertOptions(column_types={"label": pa.string()}, strings_can_be_null=False)
            pq.write_table(pa_csv.read_csv(pa.BufferReader(text.encode()), convert_options=options), path)
        return path

    return write


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_folder_per_class(two_classes):
    images = load_folder(two_classes)
    assert images.ids.tolist() == ["cat/1.png", "cat/2.jpg", "dog/1.png", "dog/2.png"]
    assert images.labels.tolist() == ["cat", "cat", "dog", "dog"]
    assert images.parts.tolist() == [""] * 4
    assert (images.name, images.kind, images.skipped) == ("pets", "photos", ())
    np.testing.assert_allclose(images.pixels(np.arange(4), 8, 3)[:, 4, 4], [[200, 30, 30]] * 4, atol=3)


def test_folders_in_a_class_folder_belong_to_the_class(two_classes, photo):
    photo(two_classes / "cat" / "2024" / "may" / "3.png")
    images = load_folder(two_classes)
    assert images.labels[images.ids.tolist().index("cat/2024/may/3.png")] == "cat"


def test_hidden_files_and_folders_and_empty_classes_are_left_alone(two_classes, photo):
    (two_classes / "cat" / ".DS_Store").write_bytes(b"x")
    photo(two_classes / ".cache" / "1.png")
    photo(two_classes / "cat" / ".thumbnails" / "1.png")
    photo(two_classes / "loose.png")
    (two_classes / "fish").mkdir()
    images = load_folder(two_classes, strict=True)
    assert images.classes() == ["cat", "dog"]
    assert len(images) == 4


def test_a_class_may_hold_one_image_and_the_folder_one_class(tmp_path, photo):
    photo(tmp_path / "pets" / "cat" / "1.png")
    images = load_folder(tmp_path / "pets")
    assert images.classes() == ["cat"]
    with pytest.raises(DataError, match="1 classes, at least 2 are needed"):
        draw_splits(images, SplitPlan())


def test_a_folder_is_named_after_itself_whatever_it_looks_like(two_classes, monkeypatch):
    odd = two_classes.rename(two_classes.with_name("pets.v2.csv"))
    assert load_folder(odd).name == "pets.v2.csv"
    monkeypatch.chdir(odd)
    assert load_folder(Path()).name == "pets.v2.csv"


def test_unreadable_images_are_left_out_and_named(two_classes):
    whole = two_classes / "cat" / "big.jpg"
    Image.effect_noise((64, 64), 90).save(whole)
    whole.write_bytes(whole.read_bytes()[:-500])
    (two_classes / "cat" / "fake.jpg").write_text("text")
    (two_classes / "dog" / "empty.png").write_bytes(b"")
    (two_classes / "dog" / "notes.txt").write_text("text")
    images = load_folder(two_classes)
    assert len(images) == 4
    assert images.skipped == (
        "cat/big.jpg (truncated or no image)",
        "cat/fake.jpg (truncated or no image)",
        "dog/empty.png (truncated or no image)",
        "dog/notes.txt (no image file)",
    )
    assert images.take(np.array([0])).skipped == images.skipped
    with pytest.raises(DataError) as caught:
        load_folder(two_classes, strict=True)
    assert "4 of 8 images cannot be read, the first is cat/big.jpg" in one_line(caught)


def test_a_bomb_is_left_out_without_a_warning(two_classes, photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    photo(two_classes / "dog" / "bomb.png", size=(40, 40))
    assert load_folder(two_classes).skipped == ("dog/bomb.png (more than 1000 pixels)",)


def test_no_readable_image_at_all_is_refused(two_classes):
    for file in two_classes.glob("*/*"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"4 of 4 images cannot be read, the first is cat/1\.png"):
        load_folder(two_classes)


@pytest.mark.parametrize("name", ["gone", "empty", "file.zip"])
def test_what_is_no_folder_of_images_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.zip").write_bytes(b"x")
    with pytest.raises(DataError, match=r"expected one folder per class|neither a folder nor"):
        load_folder(tmp_path / name)


def test_progress_ends_with_all_images(two_classes):
    seen = []
    load_folder(two_classes, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 4)]


# --- manifests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["list.csv", "list.parquet", "LIST.CSV"])
def test_a_manifest_names_path_label_and_split(manifest, name):
    path = manifest("path,label,split\nb.png,dog,gallery\na.png,cat,train\nc.png,dog,query\nd.png,cat,\n", name)
    images = load_folder(path)
    assert images.ids.tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert images.labels.tolist() == ["cat", "dog", "dog", "cat"]
    assert images.parts.tolist() == ["train", "gallery", "query", ""]
    assert images.name == path.stem
    assert images.pixels(np.arange(4), 8, 3).shape == (4, 8, 8, 3)


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_labels_are_text_also_where_they_look_like_numbers_or_nothing(manifest, name):
    path = manifest('label,path\n007,a.png\nNA,b.png\nnull,c.png\n"a, ""b""",d.png\n', name)
    assert load_folder(path).labels.tolist() == ["007", "NA", "null", 'a, "b"']


def test_a_parquet_manifest_may_hold_numbers_and_categories(manifest):
    path = manifest("path,label\na.png,1\nb.png,1\n", "list.parquet")
    columns = {"path": pa.array(["a.png", "b.png"]).dictionary_encode(), "label": pa.array([7, 8])}
    pq.write_table(pa.table({**columns, "split": pa.array([None, "train"])}), path)
    images = load_folder(path)
    assert (images.labels.tolist(), images.parts.tolist()) == (["7", "8"], ["", "train"])


def test_paths_are_relative_to_the_manifest_or_absolute(manifest, tmp_path, photo, monkeypatch):
    outside = photo(tmp_path / "elsewhere" / "x.png")
    path = manifest(f"path,label\n{outside},cat\n../elsewhere/x.png,dog\na.png,dog\n", folder="lists")
    monkeypatch.chdir(tmp_path.parent)
    images = load_folder(path.relative_to(tmp_path.parent))
    assert set(images.ids.tolist()) == {str(outside), "../elsewhere/x.png", "a.png"}
    monkeypatch.chdir(tmp_path)
    assert images.pixels(np.arange(3), 8, 3).shape == (3, 8, 8, 3)


def test_a_byte_order_mark_and_a_partition_like_folder_do_no_harm(manifest):
    assert len(load_folder(manifest("\ufeffpath,label\na.png,cat\nb.png,dog\n", folder="label=1"))) == 2
    assert len(load_folder(manifest("path,label\na.png,cat\nb.png,dog\n", "x.parquet", folder="label=1"))) == 2


def test_missing_image_files_are_left_out_and_named_or_refused(manifest):
    path = manifest("path,label\na.png,cat\ngone.png,cat\nb.png,dog\n")
    assert load_folder(path).skipped == ("gone.png (no such file)",)
    with pytest.raises(DataError, match=r"1 of 3 images cannot be read, the first is gone\.png"):
        load_folder(path, strict=True)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("path,lable\na.png,x\n", UnknownName, "unknown column of list.csv 'lable': did you mean 'label'?"),
        ("path,label,colour\na.png,x,red\n", UnknownName, "unknown column of list.csv 'colour'"),
        ("path,label,split\na.png,x,galery\n", UnknownName, "row 1: 'galery': did you mean 'gallery'?"),
        ("label\nx\n", DataError, "has no column 'path': found label"),
        ("path\na.png\n", DataError, "has no column 'label': found path"),
        ("path,path,label\na.png,b.png,x\n", DataError, "has 2 columns 'path', expected one"),
        ("path,label\na.png,x\nb.png,y\na.png,y\n", DataError, "row 3: a.png is listed twice"),
        ("path,label\na.png,x\n./a.png,y\n", DataError, "row 2: ./a.png is listed twice"),
        ("path,label\na.png,x\nb.png,\n", DataError, "row 2: path and label must not be empty"),
        ("path,label\na.png,x\nb.png,  \n", DataError, "row 2: path and label must not be empty"),
        ("path,label\n,x\n", DataError, "row 1: path and label must not be empty"),
        ("path,label\n", DataError, "holds no images"),
        ("", DataError, "cannot be read as a manifest"),
        ("path,label\na.png\n", DataError, "cannot be read as a manifest"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(manifest, text, error, message):
    with pytest.raises(error) as caught:
        load_folder(manifest(text))
    assert message in one_line(caught)


def test_a_null_in_a_parquet_manifest_is_refused(manifest):
    path = manifest("path,label\na.png,x\n", "list.parquet")
    pq.write_table(pa.table({"path": ["a.png", None], "label": ["x", "y"]}), path)
    with pytest.raises(DataError, match="row 2: path and label must not be empty"):
        load_folder(path)


def test_an_extra_parquet_column_of_any_type_is_named(manifest):
    path = manifest("path,label\na.png,x\n", "list.parquet")
    pq.write_table(pa.table({"path": ["a.png"], "label": ["x"], "vector": [[1.0, 2.0]]}), path)
    with pytest.raises(UnknownName, match=r"unknown column of list\.parquet 'vector'"):
        load_folder(path)


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00garbage", b"PAR1"])
def test_a_damaged_or_missing_manifest_is_refused_in_one_line(tmp_path, name, content):
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        load_folder(tmp_path / name)
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, UnknownName)) as caught:
        load_folder(tmp_path / name)
    one_line(caught)
