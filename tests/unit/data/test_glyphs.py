from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from PIL import ImageFont

from bict.data import DATASETS, glyphs
from bict.data.glyphs import load_glyphs


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return load_glyphs(cache=tmp_path_factory.mktemp("glyphs"))


@pytest.fixture
def few(monkeypatch):
    """Numbers alone, so that a test may render them often."""
    monkeypatch.setattr(glyphs, "DRAWABLE", {"N"})


def same(first, second) -> bool:
    equal = np.array_equal(first.source.array, second.source.array)
    return equal and np.array_equal(first.ids, second.ids) and np.array_equal(first.labels, second.labels)


def test_the_full_set_is_large_and_every_class_has_twelve_faces(full):
    classes, counts = np.unique(full.labels, return_counts=True)
    assert len(classes) >= 2_000
    assert 25_000 <= len(full) <= 35_000
    assert (counts.min(), counts.max()) == (12, 16)
    assert len(np.unique(full.ids)) == len(full)
    assert full.kind == "characters"
    assert full.source.array.shape == (len(full), 32, 32)
    assert set(full.parts.tolist()) == {""}
    assert "U+0041/DejaVuSans-Bold" in full.ids
    assert full.labels[full.ids == "U+0041/STIXGeneral"].tolist() == ["U+0041"]


def test_no_image_is_blank_and_ink_is_bright(full):
    brightest = full.source.array.reshape(len(full), -1).max(axis=1)
    assert brightest.min() > 64
    assert full.source.array.mean() < 64


@pytest.mark.slow
def test_no_two_classes_look_alike_in_half_of_their_faces(full):
    """Clean bitmaps of all kept classes, compared pair by pair."""
    fonts = {name: ImageFont.truetype(str(path), glyphs.FONT_SIZE) for name, path in glyphs.font_faces().items()}
    owners: dict[tuple[str, bytes], list[str]] = {}
    for name in full.ids.tolist():
        label, face = name.split("/")
        owners.setdefault((face, glyphs._draw(chr(int(label[2:], 16)), fonts[face]).tobytes()), []).append(label)
    faces = Counter(full.labels.tolist())
    shared = Counter(pair for labels in owners.values() for pair in combinations(labels, 2))
    assert shared, "some capital must share a face with its Greek or Cyrillic twin, or nothing was compared"
    assert [pair for pair, count in shared.items() if 2 * count >= min(faces[label] for label in pair)] == []


def test_a_lookalike_of_any_earlier_character_is_left_out():
    bitmaps = [np.full((2, 2), value, np.uint8) for value in range(40)]
    first = {f"face-{face}": bitmaps[face] for face in range(12)}
    second = {f"face-{face}": bitmaps[face if face < 5 else 12 + face] for face in range(12)}
    third = {f"face-{face}": bitmaps[face if face < 3 else 12 + face if face < 8 else 24 + face] for face in range(12)}
    fourth = {f"face-{face}": bitmaps[20 + face] for face in range(12)}
    kept = glyphs._drop_lookalikes({1: first, 2: second, 3: third, 4: fourth})
    assert list(kept) == [1, 2, 4]  # 3 shares 3 bitmaps with 1 and 2, and 5 more with 2


def test_a_seed_gives_the_same_bytes_again_and_another_seed_others(few, tmp_path):
    first, again = (load_glyphs(seed=3, cache=tmp_path / name) for name in ("a", "b"))
    other = load_glyphs(seed=4, cache=tmp_path / "a")
    assert same(first, again)
    assert np.array_equal(other.ids, first.ids)
    assert not np.array_equal(other.source.array, first.source.array)
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_the_cache_is_used(few, tmp_path):
    steps = []
    rendered = load_glyphs(cache=tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps
    assert steps[-1][0] == steps[-1][1]
    steps.clear()
    assert same(load_glyphs(cache=tmp_path, progress=lambda *step: steps.append(step)), rendered)
    assert steps == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_a_damaged_cache_is_rendered_again_and_repaired(few, tmp_path):
    rendered = load_glyphs(cache=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    flipped = bytes(byte ^ 0xFF if 100 <= place < 160 else byte for place, byte in enumerate(content))
    for damaged in (b"", b"text", content[: len(content) // 2], flipped):
        path.write_bytes(damaged)
        assert same(load_glyphs(cache=tmp_path), rendered)
        assert path.read_bytes() == content


def test_a_cache_of_other_content_is_rendered_again(few, tmp_path):
    rendered = load_glyphs(cache=tmp_path)
    (path,) = tmp_path.iterdir()
    images, ids = rendered.source.array, rendered.ids
    for content in (
        {"images": images},
        {"images": images[:-1], "ids": ids},
        {"images": images.astype(float), "ids": ids},
        {"images": images[:0], "ids": ids[:0]},
        {"images": images, "ids": ids.astype(object)},
    ):
        np.savez(path, **content)
        assert same(load_glyphs(cache=tmp_path), rendered)


def test_a_cache_folder_that_cannot_be_written_costs_only_time(few, tmp_path):
    (tmp_path / "file").write_text("x")
    rendered = load_glyphs(cache=tmp_path / "file" / "cache")
    assert same(load_glyphs(cache=tmp_path), rendered)


def test_a_cache_that_is_in_the_way_leaves_no_half_written_file(few, tmp_path):
    load_glyphs(cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    assert len(load_glyphs(cache=tmp_path)) > 0
    assert list(tmp_path.iterdir()) == [path]


def test_the_data_set_is_cached_in_the_users_cache_folder(few, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images = DATASETS["glyphs"](None, False, None)
    assert images.name == "glyphs"
    assert [path.parent for path in tmp_path.rglob("glyphs-*.npz")] == [tmp_path / "bict"]


def test_jitter_moves_each_image_a_little_and_on_its_own():
    image = np.zeros((32, 32), np.uint8)
    image[12:20, 12:20] = 255
    moved = glyphs._jitter(np.stack([image] * 64), seed=0)
    assert len({picture.tobytes() for picture in moved}) == 64
    rows, columns = np.mgrid[:32, :32]
    mass = moved.sum(axis=(1, 2), dtype=float)
    for axis in (rows, columns):
        centres = (moved * axis).sum(axis=(1, 2)) / mass
        assert np.abs(centres - 15.5).max() < 3
        assert np.ptp(centres) > 2
    side = np.sqrt(mass / 255)
    assert 0.78 * 8 < side.min() < side.max() < 1.12 * 8
