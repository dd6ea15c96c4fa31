"""Files of vectors of every kind: what is read of them, and what is refused when they are opened or read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from bict.assessment import vector_file
from bict.assessment.space_card import card_path, write_space_card
from bict.assessment.vector_file import in_memory, open_vector_file
from bict.assessment.vector_source import SOURCES
from bict.embeddings import Embeddings, vectors_to_arrow
from bict.errors import SettingsError, UnknownName, VectorError
from bict.spaces import Space

KINDS = ("x.parquet", "x.arrow", "x.feather", "stream.arrow", "x.npz", "x.npy")
NAMED = KINDS[:-1]


def table_of(ids, vectors, *, lists=False, **columns) -> pa.Table:
    column = pa.array(list(vectors)) if lists else vectors_to_arrow(vectors)
    return pa.table({"id": ids, "vector": column, **columns})


def write_table(table: pa.Table, path: Path, rows: int = 7) -> Path:
    """So many rows in a row group or record batch."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=rows)
    elif path.suffix == ".feather":
        feather.write_feather(table, path, chunksize=rows)
    else:
        new = pa.ipc.new_stream if path.stem == "stream" else pa.ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)
    return path


def write(path: Path, ids, vectors, *, rows: int = 7, **columns) -> Path:
    if path.suffix == ".npy":
        np.save(path, vectors)
    elif path.suffix == ".npz":
        np.savez(path, ids=ids, vectors=vectors, **{{"label": "labels"}.get(key, key): columns[key] for key in columns})
    else:
        write_table(table_of(ids, vectors, **columns), path, rows)
    return path


def sample(rows: int = 20, dim: int = 3) -> tuple[np.ndarray, np.ndarray]:
    vectors = np.random.default_rng(rows).normal(size=(rows, dim)).astype(np.float32)
    return np.array([f"photo-{row}" for row in range(rows)]), vectors


def refusal(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_file_is_found(tmp_path, kind):
    ids, vectors = sample()
    labels = np.array([f"class {row % 3}" for row in range(20)])
    split = np.repeat(["fit", "judge"], 10)
    file = open_vector_file(write(tmp_path / kind, ids, vectors, label=labels, split=split))
    assert (len(file), file.dim, file.path) == (20, 3, tmp_path / kind)
    if kind == "x.npy":
        assert file.ids.tolist() == list(range(20))
        assert file.labels is file.split is None
    else:
        assert file.ids.tolist() == ids.tolist()
        assert file.labels.tolist() == labels.tolist()
        assert file.split.tolist() == split.tolist()
    found = file.read(np.arange(20))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_rows_come_in_the_order_asked_for(tmp_path_factory, kind, data):
    total = data.draw(st.integers(1, 30))
    per_group, block = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    rows = np.array(data.draw(st.lists(st.integers(0, total - 1), max_size=40)), np.int64)
    ids, vectors = sample(total, 2)
    path = write(tmp_path_factory.mktemp("file") / kind, ids, vectors, rows=per_group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_file, "BLOCK", block)
        patch.setattr("bict.assessment.vector_source.BLOCK", block)
        np.testing.assert_array_equal(open_vector_file(path).read(rows), vectors[rows])


@pytest.mark.parametrize("kind", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize("number", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint16()])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list, lambda number: pa.list_(number, 2)])
def test_any_lists_of_numbers_are_vectors(tmp_path, kind, number, lists):
    values = [[1, 2], [3, 4], [5, 6]]
    column = pa.array([[np.float16(x) for x in row] for row in values] if number == pa.float16() else values)
    table = pa.table({"id": [7, 8, 9], "vector": column.cast(lists(number))})
    file = open_vector_file(write_table(table, tmp_path / kind, 2))
    assert file.dim == 2
    np.testing.assert_array_equal(file.read(np.array([2, 0])), np.array([[5, 6], [1, 2]], np.float32))


@pytest.mark.parametrize("kind", ["x.npz", "x.npy"])
@pytest.mark.parametrize("number", [np.float16, np.float64, np.int8])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_array_of_numbers_is_vectors(tmp_path, kind, number, order):
    vectors = np.array([[1, 2], [3, 4], [5, 6]], number, order=order)
    file = open_vector_file(write(tmp_path / kind, np.arange(3), vectors))
    np.testing.assert_array_equal(file.read(np.array([2, 0])), np.array([[5, 6], [1, 2]], np.float32))


def test_what_float32_cannot_hold_is_infinite(tmp_path):
    file = open_vector_file(write(tmp_path / "x.npz", np.arange(2), np.array([[1e300, 1], [1, 2]])))
    np.testing.assert_array_equal(file.read(np.arange(2)), np.array([[np.inf, 1], [1, 2]], np.float32))


@pytest.mark.parametrize("kind", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize("column", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_nulls_are_read_as_nan(tmp_path, kind, column):
    values = pa.array([None, [1, 2], [3, None], None, [5, 6]], column)
    file = open_vector_file(write_table(pa.table({"id": np.arange(5), "vector": values}), tmp_path / kind, 3))
    assert file.dim == 2
    expected = np.array([[np.nan] * 2, [1, 2], [3, np.nan], [np.nan] * 2, [5, 6]], np.float32)
    np.testing.assert_array_equal(file.read(np.arange(5)), expected)


@pytest.mark.parametrize("kind", ["x.parquet", "x.arrow"])
def test_lists_of_unequal_length_are_refused_with_the_first_id(tmp_path, kind):
    values = [[1.0, 2]] * 30
    values[13:15] = [1.0, 2, 3], [1.0]
    path = write_table(pa.table({"id": np.arange(100, 130), "vector": values}), tmp_path / kind)
    message = refusal(VectorError, lambda: open_vector_file(path))
    assert message == f"{path}: the vector of id 113 has 3 numbers, expected 2 as of the first"


def test_a_list_of_unequal_length_that_opening_did_not_see_is_refused_when_read(tmp_path):
    path = write_table(pa.table({"id": ["a", "b"], "vector": [[1.0, 2], [1.0]]}), tmp_path / "x.parquet")
    write_space_card(Space(name="old", fingerprint="a" * 16, dim=2), card_path(path))
    file = open_vector_file(path)
    message = refusal(VectorError, lambda: file.read(np.array([0])))
    assert message == f"{path}: the vector of id b has 1 numbers, expected 2 as of the first"


@pytest.mark.parametrize("kind", NAMED)
def test_columns_may_have_other_names(tmp_path, kind):
    ids, vectors = sample()
    path = tmp_path / kind
    columns = {"sku": ids, "embedding": vectors, "family": ids, "fold": ids}
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        write_table(pa.table({**columns, "embedding": vectors_to_arrow(vectors)}), path)
    names = {"id_column": "sku", "vector_column": "embedding", "label_column": "family", "split_column": "fold"}
    file = open_vector_file(path, **names)
    assert file.ids.tolist() == file.labels.tolist() == file.split.tolist() == ids.tolist()
    np.testing.assert_array_equal(file.read(np.arange(20)), vectors)
    assert open_vector_file(path, id_column="sku", vector_column="embedding").labels is None
    for role in names:
        message = refusal(UnknownName, lambda role=role: open_vector_file(path, **{**names, role: "nothing"}))
        assert message.startswith(f"unknown column of {path} 'nothing': ")
        assert message.endswith("(embedding, family, fold, sku)")


def test_a_file_of_vectors_alone_has_no_other_columns(tmp_path):
    path = write(tmp_path / "x.npy", None, np.eye(3))
    for role in ("id_column", "vector_column", "label_column", "split_column"):
        message = refusal(UnknownName, lambda role=role: open_vector_file(path, **{role: "sku"}))
        assert message == f"unknown column of {path} 'sku': valid: (id, vector)"


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("id", ["a", None, "c"], "1 of 3 values of column 'id' are null: fill them in"),
        ("id", [1, None, None], "2 of 3 values of column 'id' are null: fill them in"),
        ("id", ["b", "a", "a"], "1 ids occur more than once, the first is a: ids must be unique"),
        ("id", [1.0, 2.0, 3.0], "ids must be strings or integers, found float64"),
        ("id", [["a"], ["b"], ["c"]], "column 'id' holds list<element: string>, expected one value in a row"),
        ("label", ["a", None, "c"], "1 of 3 values of column 'label' are null: fill them in"),
        ("label", ["a", "", ""], "2 of 3 values of column 'label' are empty: fill them in"),
        ("label", [1.0, np.nan, 2.0], "1 of 3 values of column 'label' are empty: fill them in"),
        ("label", [["a"], ["b"], ["c"]], "column 'label' holds list<element: string>, expected one value in a row"),
        ("vector", [1.0, 2.0, 3.0], "column 'vector' holds double, expected lists of numbers"),
        ("vector", [["a"], ["b"], ["c"]], "column 'vector' holds list<element: string>, expected lists of numbers"),
        ("vector", [[], [], []], "column 'vector' holds list<element: null>, expected lists of numbers"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(tmp_path, column, values, message):
    columns = {"id": [1, 2, 3], "vector": [[1.0], [2.0], [3.0]], column: values}
    path = write_table(pa.table(columns), tmp_path / "x.parquet")
    assert refusal(VectorError, lambda: open_vector_file(path)) == f"{path}: {message}"


@pytest.mark.parametrize("values", [[[], [1.0]], [None, None]])
def test_vectors_that_are_not_there_are_refused(tmp_path, values):
    column = pa.array(values, pa.list_(pa.float32()))
    path = write_table(pa.table({"id": np.arange(2), "vector": column}), tmp_path / "x.parquet")
    expected = f"{path}: column 'vector' of 2 rows starts with an empty vector, or holds nulls alone"
    assert refusal(VectorError, lambda: open_vector_file(path)) == expected


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": np.ones((2, 3))}, "vectors as numbers of shape (3, dim), found float64 of shape (2, 3)"),
        ({"vectors": np.ones(3)}, "vectors as numbers of shape (3, dim), found float64 of shape (3,)"),
        ({"vectors": np.ones((3, 0))}, "vectors as numbers of shape (3, dim), found float64 of shape (3, 0)"),
        ({"vectors": np.ones((3, 2), bool)}, "vectors as numbers of shape (3, dim), found bool of shape (3, 2)"),
        ({"labels": np.arange(2)}, "'labels' has shape (2,), expected one value for each of 3 rows"),
        ({"ids": np.array([[1, 2, 3]])}, "ids must be one-dimensional, found shape (1, 3)"),
        ({"ids": np.array([1, 2, None])}, "holds no readable vectors: Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path, arrays, message):
    path = tmp_path / "x.npz"
    np.savez(path, **{"ids": np.arange(3), "vectors": np.ones((3, 2)), **arrays})
    found = refusal(VectorError, lambda: open_vector_file(path))
    assert found.startswith(str(path))
    assert message in found


@pytest.mark.parametrize("kind", NAMED)
def test_numbers_and_categories_are_labels_too(tmp_path, kind):
    ids, vectors = sample()
    numbers = np.arange(20) % 3
    file = open_vector_file(write(tmp_path / kind, ids, vectors, label=numbers))
    assert file.labels.tolist() == [str(number) for number in numbers]
    if kind != "x.npz":
        categories = pa.array(ids).dictionary_encode()
        file = open_vector_file(write_table(table_of(categories, vectors, label=categories), tmp_path / kind))
        assert file.ids.tolist() == file.labels.tolist() == ids.tolist()


@pytest.mark.parametrize("kind", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (pa.array(["query", None, ""]), ["query", "", ""]),
        (pa.array([1, None, 2]), ["1", "", "2"]),
        (pa.array(["query", None, "gallery"]).dictionary_encode(), ["query", "", "gallery"]),
        (pa.nulls(3), ["", "", ""]),
    ],
)
def test_a_row_may_be_in_no_part(tmp_path, kind, split, expected):
    ids, vectors = sample(3)
    file = open_vector_file(write_table(table_of(ids, vectors, split=split), tmp_path / kind, 2))
    assert file.split.tolist() == expected


def test_embeddings_in_memory_are_read_like_a_file():
    ids, vectors = sample()
    space = Space(name="old", fingerprint="a" * 16, dim=3, normalised=False)
    file = in_memory(Embeddings(ids, vectors, space, ids), "old")
    assert (file.path, file.dim, file.space, file.split) == (Path("old"), 3, space, None)
    assert file.ids.tolist() == file.labels.tolist() == ids.tolist()
    np.testing.assert_array_equal(file.read(np.array([7, 0, 7])), vectors[[7, 0, 7]])


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([1]), pa.array([[1.0]])], names=["id", "id", "vector"])
    path = write_table(table, tmp_path / "x.arrow")
    message = refusal(VectorError, lambda: open_vector_file(path))
    assert message == f"{path}: 2 columns are called 'id', expected one: rename the others"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_rows_is_refused(tmp_path, kind):
    path = write(tmp_path / kind, np.array([], str), np.zeros((0, 3), np.float32))
    assert refusal(VectorError, lambda: open_vector_file(path)) == f"{path}: no rows: nothing to read"


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_refused(tmp_path, kind):
    assert refusal(VectorError, lambda: open_vector_file(tmp_path / kind)) == f"no file {tmp_path / kind}"


@pytest.mark.parametrize("kind", ["x.csv", "x", "x.pt"])
def test_another_ending_is_refused(tmp_path, kind):
    (tmp_path / kind).write_text("x")
    message = refusal(SettingsError, lambda: open_vector_file(tmp_path / kind))
    assert message == f"cannot read {tmp_path / kind}: expected .parquet, .arrow, .feather, .npz, .npy"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [0, 4, 60, -200])
def test_a_truncated_file_is_refused(tmp_path, kind, cut):
    ids, vectors = sample(100)
    path = write(tmp_path / kind, ids, vectors)
    path.write_bytes(path.read_bytes()[:cut])
    assert str(path) in refusal(VectorError, lambda: open_vector_file(path))


@pytest.mark.parametrize("kind", ["x.parquet", "x.npz"])
def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path, kind):
    ids, vectors = sample()
    file = open_vector_file(write(tmp_path / kind, ids, vectors))
    write(tmp_path / kind, ids[:12], vectors[:12])
    message = refusal(VectorError, lambda: file.read(np.arange(20)))
    assert message == f"{file.path}: 8 rows are gone since it was opened: leave the file alone meanwhile"
    file.path.write_bytes(b"PAR1")
    assert "holds no readable vectors" in refusal(VectorError, lambda: file.read(np.arange(20)))


@pytest.mark.parametrize("rows", [1, 999, 1000, 1001, 1124, 30_000])
def test_the_sample_is_all_rows_or_runs_from_the_first_to_the_last(rows):
    sample_rows = vector_file._sample(rows)
    assert len(set(sample_rows.tolist())) == len(sample_rows) == min(rows, 1000)
    assert (sample_rows[0], sample_rows[-1]) == (0, rows - 1)
    assert (np.diff(sample_rows) == 1).sum() >= min(rows, 1000) - 8


def test_of_a_large_file_few_row_groups_are_read_to_open_it(tmp_path, monkeypatch):
    ids, vectors = sample(40_000, 2)
    path = write(tmp_path / "x.parquet", ids, vectors, rows=500)
    seen = []
    decode = vector_file._vectors
    monkeypatch.setattr(vector_file, "_vectors", lambda part, *rest: (seen.append(len(part)), decode(part, *rest))[1])
    open_vector_file(path)
    assert sum(seen) <= 16 * 500


@pytest.mark.parametrize(("rows", "starts"), [([70], [0, 64]), ([3, 500], [0, 448]), ([999], [896, 960]), ([], [])])
def test_a_row_group_is_decoded_up_to_the_last_wanted_row(tmp_path, monkeypatch, rows, starts):
    path = write(tmp_path / "x.parquet", *sample(1000, 2), rows=448)
    monkeypatch.setattr("bict.assessment.vector_source.BLOCK", 64)
    blocks = SOURCES[".parquet"](path).blocks("vector", np.array(rows, np.int64))
    assert [start for start, _ in blocks] == starts


def test_a_block_is_all_that_is_decoded_at_once(tmp_path, monkeypatch):
    """Of a row group of 1,000 rows, no piece handed on is longer than a block."""
    ids, vectors = sample(1000, 4)
    path = write(tmp_path / "x.parquet", ids, vectors, rows=1000)
    monkeypatch.setattr("bict.assessment.vector_source.BLOCK", 64)
    seen = []
    decode = vector_file._vectors
    monkeypatch.setattr(vector_file, "_vectors", lambda part, *rest: (seen.append(len(part)), decode(part, *rest))[1])
    np.testing.assert_array_equal(open_vector_file(path).read(np.array([999, 70])), vectors[[999, 70]])
    assert max(seen) <= 64
    assert len(seen) == 16 + 2  # all blocks for the space card, then the two that hold the rows
