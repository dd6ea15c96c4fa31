"""Embeddings in files: what comes back, and what is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bict.embeddings import Embeddings, normalise
from bict.errors import RunError, SettingsError, SpaceError, VectorError
from bict.spaces import Space

SPACE = Space(name="made", fingerprint="a" * 16, dim=4)


def make(rows: int = 5, space: Space = SPACE, labels: bool = True) -> Embeddings:
    vectors = normalise(np.random.default_rng(0).normal(size=(rows, space.dim)).astype(np.float32))
    ids = np.array([f"image-{row}" for row in range(rows)], dtype=str)
    names = np.array([f"class {row % 2}" for row in range(rows)], dtype=str)
    return Embeddings(ids, vectors, space, names if labels else None)


def assert_same(first: Embeddings, second: Embeddings) -> None:
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.vectors.dtype == second.vectors.dtype == np.float32
    assert first.space == second.space
    assert (first.labels is None) == (second.labels is None)
    if first.labels is not None:
        np.testing.assert_array_equal(first.labels, second.labels)


def refusal(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize("name", ["x.parquet", "x.npz"])
def test_files_give_back_what_was_saved(tmp_path, name, rows, labels):
    made = make(rows, labels=labels)
    path = made.save(tmp_path / "deep" / "label=3" / name)
    assert [file.name for file in path.parent.iterdir()] == [name]
    assert_same(Embeddings.load(path), made)
    assert_same(Embeddings.load(str(path), SPACE), made)
    made.take(np.arange(rows // 2)).save(path)
    assert len(Embeddings.load(path)) == rows // 2


def test_vectors_alone_get_row_numbers_as_ids_and_need_a_space(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(np.eye(4)))
    loaded = Embeddings.load(tmp_path / "x.npy", SPACE)
    assert loaded.ids.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(loaded.vectors, np.eye(4))
    message = refusal(SpaceError, lambda: Embeddings.load(tmp_path / "x.npy"))
    assert message == f"{tmp_path / 'x.npy'}: nothing says which space these vectors are of: pass the space"


def test_foreign_files_are_read_with_a_given_space(tmp_path):
    vectors = np.eye(4).tolist()
    pq.write_table(pa.table({"id": [5, 6, 7, 8], "vector": vectors}), tmp_path / "x.parquet")
    np.savez(tmp_path / "x.npz", ids=np.array([5, 6, 7, 8]), vectors=np.eye(4, dtype=np.float16))
    for name in ("x.parquet", "x.npz"):
        loaded = Embeddings.load(tmp_path / name, SPACE)
        assert loaded.ids.tolist() == [5, 6, 7, 8]
        np.testing.assert_array_equal(loaded.vectors, np.eye(4))
        assert "pass the space" in refusal(SpaceError, lambda name=name: Embeddings.load(tmp_path / name))


@pytest.mark.parametrize("name", ["x.csv", "x", "x.npy", "x.PARQUET"])
def test_other_endings_are_not_written(tmp_path, name):
    message = refusal(SettingsError, lambda: make().save(tmp_path / name))
    assert message == f"cannot write {name!r}: name a file that ends in .parquet or .npz"
    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_not_read(tmp_path):
    message = refusal(SettingsError, lambda: Embeddings.load(tmp_path / "x.csv"))
    assert message == "cannot read 'x.csv': expected .parquet, .npz or .npy"


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "x.parquet").mkdir()
    for path in (tmp_path / "file" / "x.npz", tmp_path / "x.parquet"):
        assert f"{path} cannot be written (" in refusal(RunError, lambda path=path: make().save(path))


@pytest.mark.parametrize("name", ["x.parquet", "x.npz", "x.npy"])
def test_a_missing_file_is_refused(tmp_path, name):
    assert refusal(VectorError, lambda: Embeddings.load(tmp_path / name, SPACE)) == f"no file {tmp_path / name}"


def write_any(path) -> None:
    if path.suffix == ".npy":
        np.save(path, np.eye(4))
    else:
        make().save(path)


@pytest.mark.parametrize("name", ["x.parquet", "x.npz", "x.npy"])
@pytest.mark.parametrize("cut", [0, 4, 60, -40])
def test_a_truncated_file_is_refused(tmp_path, name, cut):
    write_any(tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:cut])
    message = refusal(VectorError, lambda: Embeddings.load(tmp_path / name, SPACE))
    assert message.startswith(f"{tmp_path / name} holds no readable embeddings: ")


@pytest.mark.parametrize("name", ["x.parquet", "x.npz", "x.npy"])
@pytest.mark.parametrize("other", ["y.parquet", "y.npz", "y.npy"])
def test_a_file_under_another_ending_is_refused(tmp_path, name, other):
    if name.split(".")[1] == other.split(".")[1]:
        (tmp_path / name).write_text("text")
    else:
        write_any(tmp_path / other)
        (tmp_path / other).rename(tmp_path / name)
    assert "holds no readable embeddings" in refusal(VectorError, lambda: Embeddings.load(tmp_path / name, SPACE))


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_pickles_are_not_read(tmp_path, name):
    objects = np.array([{}, None], dtype=object)
    if name == "x.npz":
        np.savez(tmp_path / name, ids=objects, vectors=np.eye(4)[:2])
    else:
        np.save(tmp_path / name, objects)
    assert "holds no readable embeddings" in refusal(VectorError, lambda: Embeddings.load(tmp_path / name, SPACE))


@pytest.mark.parametrize(
    ("arrays", "kind", "message"),
    [
        ({"ids": np.arange(4)}, VectorError, "expected arrays 'ids' and 'vectors', found ids"),
        ({"ids": np.arange(3), "vectors": np.eye(4)}, VectorError, "3 ids for 4 vectors"),
        ({"ids": np.arange(4), "vectors": np.eye(4) * 2}, VectorError, "4 of 4 vectors are not of unit length"),
        ({"ids": np.arange(4), "vectors": np.eye(4), "space": np.array("{}")}, SpaceError, "space card cannot be read"),
        ({"ids": np.arange(4), "vectors": np.eye(4), "labels": np.arange(3)}, VectorError, "labels of shape (3,)"),
    ],
)
def test_archives_that_hold_no_embeddings_are_refused_by_name(tmp_path, arrays, kind, message):
    np.savez(tmp_path / "x.npz", **arrays)
    found = refusal(kind, lambda: Embeddings.load(tmp_path / "x.npz", SPACE))
    assert found.startswith(f"{tmp_path / 'x.npz'}: ")
    assert message in found


@pytest.mark.parametrize("vectors", [np.float32(1), np.ones(4), np.ones((2, 5))])
def test_arrays_of_another_shape_are_refused_by_name(tmp_path, vectors):
    np.save(tmp_path / "x.npy", vectors)
    message = refusal(VectorError, lambda: Embeddings.load(tmp_path / "x.npy", SPACE))
    assert f"{tmp_path / 'x.npy'}" in message
