from __future__ import annotations

import pickle

import numpy as np
import pytest

from bict.data import DataAddress, SplitPlan, draw_splits, load_images, load_part
from bict.data.omniglot import FILE
from bict.errors import DataError, SettingsError, UnknownName


@pytest.fixture
def small_omniglot(tmp_path):
    """A data root with a packed Omniglot file of 6 + 4 classes of 4 drawings."""
    rng = np.random.default_rng(0)
    arrays = {}
    for key, classes in (("b", 6), ("e", 4)):
        arrays[f"x{key}"] = rng.integers(0, 256, (4 * classes, 98), dtype=np.uint8)
        arrays[f"y{key}"] = np.repeat(np.arange(classes), 4)
    (tmp_path / "root").mkdir()
    np.savez(tmp_path / "root" / FILE, **arrays)
    return tmp_path / "root"


def test_an_address_of_a_name_alone():
    assert DataAddress.parse("omniglot") == DataAddress("omniglot", "all", SplitPlan())
    assert DataAddress.parse("glyphs", default_part="train").part == "train"


def test_an_address_with_everything():
    address = DataAddress.parse("omniglot:gallery,seed=1,old-share=.5,scenario=extended-data")
    plan = SplitPlan(seed=1, old_share=0.5, scenario="extended-data")
    assert address == DataAddress("omniglot", "gallery", plan)
    assert DataAddress.parse("glyphs,evaluation_share=0.2, queries-per-class = 3", default_part="query") == DataAddress(
        "glyphs", "query", SplitPlan(evaluation_share=0.2, queries_per_class=3)
    )
    assert DataAddress.parse("glyphs:old-train").part == "old-train"
    published = SplitPlan(scenario="open-class", drawing="published")
    assert DataAddress.parse("gldv2,scenario=open-class,drawing=published").plan == published
    assert DataAddress.parse("glyphs:", default_part="train").part == "train"


@pytest.mark.parametrize("folder", ["a,b", "a:b", "pets, 2024:new", "x:gallery", "seed=1,old"])
def test_a_path_may_hold_commas_and_colons(tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    for name in (folder, f"./{folder}", str(tmp_path / folder)):
        assert DataAddress.parse(name) == DataAddress(name)
        assert DataAddress.parse(f"{name}:query,seed=2") == DataAddress(name, "query", SplitPlan(seed=2))
        assert DataAddress.parse(f"{name},seed=3") == DataAddress(name, "all", SplitPlan(seed=3))


def test_the_longest_path_that_exists_is_meant(tmp_path, monkeypatch):
    for folder in ("pets", "pets:gallery"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    assert DataAddress.parse("pets:gallery") == DataAddress("pets:gallery", "all")
    assert DataAddress.parse("pets:query") == DataAddress("pets", "query")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("omniglot:galery", UnknownName, "unknown part of omniglot 'galery': did you mean 'gallery'?"),
        ("omniglot:gallery:query", UnknownName, "unknown part of omniglot 'gallery:query'"),
        ("omniglot,sead=1", UnknownName, "unknown key of the data address 'sead': did you mean 'seed'?"),
        ("omniglot,oldshare=1", UnknownName, "did you mean 'old-share'?"),
        ("omniglot,", UnknownName, "unknown key of the data address ''"),
        ("omniglot,seed", SettingsError, "'seed' in the data address needs a value: seed=..."),
        ("omniglot,seed=x", SettingsError, "data address, seed=x: input should be a valid integer"),
        ("omniglot,seed=", SettingsError, "data address, seed=: input should be a valid integer"),
        ("omniglot,old-share=2", SettingsError, "data address, old-share=2: input should be less than or equal to 1"),
        ("omniglot,queries-per-class=0", SettingsError, "data address, queries-per-class=0: input should be greater"),
        ("omniglot,scenario=extended-dat", UnknownName, "scenario in the data address 'extended-dat': did you mean"),
        ("omniglot,drawing=publish", UnknownName, "drawing in the data address 'publish': did you mean 'published'?"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(text, error, message):
    with pytest.raises(error) as caught:
        DataAddress.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["omniglto", "gone/photos", "", "x" * 5000, "nul\0byte"])
def test_an_unknown_data_set_is_refused(name):
    address = DataAddress.parse(name)
    with pytest.raises(UnknownName) as caught:
        load_part(address)
    assert f"unknown data set (and no such path) {name!r}" in str(caught.value)
    if name == "omniglto":
        assert "did you mean 'omniglot'?" in str(caught.value)


def test_an_unknown_part_of_a_made_address_is_refused(two_classes):
    with pytest.raises((UnknownName, DataError)):
        load_part(DataAddress(str(two_classes), "galery"))


def test_paths_are_looked_up_below_the_data_root(two_classes, monkeypatch, tmp_path):
    monkeypatch.chdir(two_classes)
    assert len(load_images("pets", root=two_classes.parent)) == 4
    assert len(load_images(str(two_classes), root=tmp_path / "elsewhere")) == 4
    with pytest.raises(UnknownName, match="no such path"):
        load_images("pets", root=two_classes)
    with pytest.raises(UnknownName, match="no such path"):
        load_images("pets")


def test_the_data_root_reaches_omniglot(small_omniglot):
    images = load_images("omniglot", root=small_omniglot)
    assert (len(images), len(images.classes())) == (40, 10)


def test_a_part_is_what_the_splits_say(small_omniglot):
    everything = load_part(DataAddress.parse("omniglot"), root=small_omniglot)
    address = DataAddress.parse("omniglot:gallery,seed=5,queries-per-class=1")
    gallery = load_part(address, root=small_omniglot)
    splits = draw_splits(everything, SplitPlan(seed=5, queries_per_class=1))
    assert gallery.ids.tolist() == everything.ids[splits.gallery].tolist()
    assert len(gallery) == 4 * 3


def test_all_needs_no_splits(tmp_path, photo):
    """A folder of one class can be embedded, though it cannot be split."""
    photo(tmp_path / "pets" / "cat" / "1.png")
    assert len(load_part(DataAddress.parse(str(tmp_path / "pets")))) == 1
    with pytest.raises(DataError, match="at least 2"):
        load_part(DataAddress.parse(f"{tmp_path / 'pets'}:gallery"))


def test_strict_reaches_the_folder(two_classes):
    (two_classes / "cat" / "bad.jpg").write_text("x")
    assert len(load_images(str(two_classes))) == 4
    with pytest.raises(DataError, match=r"1 of 5 images cannot be read, the first is cat/bad\.jpg"):
        load_images(str(two_classes), strict=True)


def test_progress_reaches_the_folder(two_classes):
    seen = []
    load_images(str(two_classes), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)


def test_sides_that_a_manifest_prescribes_need_no_training_images(tmp_path, photo):
    for name in "abc":
        photo(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text("path,label,split\na.png,cat,query\nb.png,cat,gallery\nc.png,dog,gallery\n")
    gallery = load_part(DataAddress.parse(f"{tmp_path}/list.csv:gallery"))
    assert gallery.ids.tolist() == ["b.png", "c.png"]
    assert len(load_part(DataAddress.parse(f"{tmp_path}/list.csv:query"))) == 1
    (tmp_path / "half.csv").write_text("path,label,split\na.png,cat,query\nb.png,dog,query\n")
    with pytest.raises(DataError, match=r"no image of .*half.csv is in the part 'gallery'"):
        load_part(DataAddress.parse(f"{tmp_path}/half.csv:gallery"))


def test_training_images_that_a_manifest_prescribes_need_no_sides(tmp_path, photo):
    rows = [f"{name}{number}.png" for name in "abcd" for number in range(3)]
    for name in rows:
        photo(tmp_path / name)
    (tmp_path / "list.csv").write_text("path,label,split\n" + "".join(f"{name},{name[0]},train\n" for name in rows))
    assert load_part(DataAddress.parse(f"{tmp_path}/list.csv:train")).ids.tolist() == rows
    old = load_part(DataAddress.parse(f"{tmp_path}/list.csv:old-train,scenario=open-class"))
    new = load_part(DataAddress.parse(f"{tmp_path}/list.csv:train,scenario=open-class"))
    assert (len(old), len(new)) == (6, 6)
    assert not {*old.labels.tolist()} & {*new.labels.tolist()}


@pytest.mark.parametrize("part", ["train", "old-train"])
def test_a_manifest_whose_training_and_evaluation_share_a_class_is_not_trained_on(tmp_path, photo, part):
    for name in "abcdef":
        photo(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text(
        "path,label,split\na.png,x,train\nb.png,y,train\nc.png,x,query\nd.png,x,gallery\ne.png,z,gallery\n"
    )
    with pytest.raises(DataError, match=r"^1 classes are in the training and the evaluation part, the first is x$"):
        load_part(DataAddress.parse(f"{tmp_path}/list.csv:{part}"))


def test_the_parts_of_google_landmarks(landmarks):
    def part(address: str) -> list[str]:
        return load_part(DataAddress.parse(address), root=landmarks).ids.tolist()

    assert part("gldv2:query") == ["dd01", "dd03"]
    assert part("gldv2:gallery") == ["e001", "e002", "e103", "f004"]
    assert part("gldv2:train") == ["bbb3", "aaa1", "aab2", "ccc4", "ccd5"]
    # landmarks 9, 10, 200 are classes 0, 1, 2, of 2, 1 and 2 images: the old model gets the first of each
    assert part("gldv2:old-train,scenario=extended-data,drawing=published") == ["bbb3", "aaa1", "ccc4"]
    (landmarks / "gldv2/test/d/d/0/dd01.jpg").unlink()
    with pytest.raises(DataError, match=r"^1 of 2 images of retrieval_solution_v2\.1\.csv are missing"):
        load_images("gldv2", root=landmarks, strict=True)


@pytest.mark.parametrize("name", ["gldv2", "roxford", "rparis"])
def test_a_benchmark_that_is_absent_is_refused_with_its_layout(tmp_path, name):
    with pytest.raises(DataError, match=rf"^no {name} in .*: name the folder that holds {name[:6]}.*--data-root$"):
        load_images(name, root=tmp_path)


def test_the_parts_of_revisited_oxford(tmp_path, photo):
    folder = tmp_path / "roxford5k"
    for name in "qxy":
        photo(folder / "jpg" / f"{name}.jpg")
    truth = {"bbx": [0, 0, 5, 5], "easy": [0], "hard": [], "junk": []}
    content = pickle.dumps({"imlist": ["x", "y"], "qimlist": ["q"], "gnd": [truth]})
    (folder / "gnd_roxford5k.pkl").write_bytes(content)
    seen = []
    images = load_images("roxford", root=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert (len(images), seen) == (3, [(3, 3)])
    for part, ids in (("query", ["q"]), ("gallery", ["x", "y"])):
        assert load_part(DataAddress.parse(f"roxford:{part}"), root=tmp_path).ids.tolist() == ids
    with pytest.raises(DataError, match="training images have 0 classes"):
        load_part(DataAddress.parse("roxford:train"), root=tmp_path)
    (folder / "jpg" / "y.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images cannot be read, the first is y \(no such file\)"):
        load_images("roxford", root=tmp_path, strict=True)
