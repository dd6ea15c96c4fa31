from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bict.embeddings import (
    SPACE_KEY,
    Embeddings,
    arrow_to_vectors,
    check_ids,
    check_vectors,
    normalise,
    vectors_to_arrow,
)
from bict.errors import SpaceError, VectorError
from bict.spaces import Space

SPACE = Space(name="made", fingerprint="a" * 16, dim=4)
FREE = Space(name="free", fingerprint="b" * 16, dim=4, metric="dot", normalised=False)


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


# --- ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (np.array(["a", "b"]), "U"),
        (np.array([3, 1], dtype=np.int16), "i"),
        (np.array([3, 1], dtype=np.uint64), "u"),
        (np.array(["a", "long id"], dtype=object), "U"),
        (np.array([3, 10**12], dtype=object), "i"),
        (np.array([np.int64(3), np.int64(4)], dtype=object), "i"),
        (np.array([], dtype=object), "U"),
        (np.array(["a", "bc"], dtype=np.dtypes.StringDType()), "U"),
        (["a", "b"], "U"),
    ],
)
def test_ids_are_strings_or_integers(ids, kind):
    checked = check_ids(ids)
    assert checked.dtype.kind == kind
    assert checked.tolist() == list(ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([[1, 2]]), "ids must be one-dimensional, found shape (1, 2)"),
        (np.array([1.5, 2]), "ids must be strings or integers, found float64"),
        (np.array([True, False]), "ids must be strings or integers, found bool"),
        (np.array([b"a", b"b"]), "ids must be strings or integers, found |S1"),
        (np.array(["a", None], dtype=object), "ids must all be strings or all be integers, without nulls"),
        (np.array(["a", 1], dtype=object), "ids must all be strings or all be integers, without nulls"),
        (np.array([1, True], dtype=object), "ids must all be strings or all be integers, without nulls"),
        (np.array([1, 10**30], dtype=object), "ids must be strings or integers, found object"),
        (np.array(["b", "a", "b", "a", "c"]), "2 ids occur more than once, the first is a: ids must be unique"),
        (np.array([4, 4]), "1 ids occur more than once, the first is 4: ids must be unique"),
    ],
)
def test_other_ids_are_refused(ids, message):
    assert refusal(VectorError, lambda: check_ids(ids)) == message


# --- vectors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_become_contiguous_float32(dtype):
    vectors = np.eye(4, dtype=dtype)[:, ::-1]
    checked = check_vectors(vectors, SPACE)
    assert checked.dtype == np.float32
    assert checked.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(checked, vectors)


def test_whole_numbers_are_vectors_too():
    np.testing.assert_array_equal(check_vectors(np.arange(1, 9).reshape(2, 4), FREE), [[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.eye(5), "expected vectors of shape (rows, 4) for space made (4-d, aaaaaaaa), found (5, 5)"),
        (np.ones(4), "found (4,)"),
        (np.ones((2, 2, 4)), "found (2, 2, 4)"),
        (np.float32(1), "found (1,)"),
        (np.array([["1", "0", "0", "0"]]), "vectors must be numbers, found <U1"),
        (np.array([[1, 0, 0, 0]], dtype=object), "vectors must be numbers, found object"),
        (np.eye(4, dtype=complex), "vectors must be numbers, found complex128"),
        (np.eye(4, dtype=bool), "vectors must be numbers, found bool"),
    ],
)
def test_what_is_no_vectors_of_the_space_is_refused(vectors, message):
    assert message in refusal(VectorError, lambda: check_vectors(vectors, SPACE))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([np.nan, 0, 0, 1], "not finite"),
        ([np.inf, 0, 0, 0], "not finite"),
        ([0, -np.inf, 0, 0], "not finite"),
        ([1e39, 0, 0, 0], "not finite"),
        ([0, 0, 0, 0], "all zero"),
        ([1e-50, 0, 0, 0], "all zero"),
        ([1.02, 0, 0, 0], "not of unit length"),
        ([0.5, 0.5, 0, 0.5], "not of unit length"),
    ],
)
def test_a_bad_row_is_refused_by_its_id(row, problem):
    vectors = np.eye(4)
    vectors[2] = row
    assert (
        refusal(VectorError, lambda: check_vectors(vectors, SPACE))
        == f"1 of 4 vectors are {problem}, the first is row 2"
    )
    ids = np.array(["a", "b", "c", "d"])
    expected = f"1 of 4 vectors are {problem}, the first is id c"
    assert refusal(VectorError, lambda: Embeddings(ids, vectors, SPACE)) == expected


def test_a_small_error_of_length_is_accepted():
    check_vectors(np.eye(4) * 1.009, SPACE)


@pytest.mark.parametrize("scale", [1e-30, 1e30, 7.0])
def test_free_lengths_may_be_of_any_size(scale):
    """Squares of these leave the range of float32; the vectors do not."""
    np.testing.assert_array_equal(check_vectors(np.eye(4) * scale, FREE), (np.eye(4) * scale).astype(np.float32))


@settings(deadline=None)
@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-(2**100), 2**100, width=32)))
def test_normalised_rows_have_unit_length_and_keep_their_direction(vectors):
    unit = normalise(vectors)
    assert unit.dtype == np.float32
    for row, scaled in zip(vectors.astype(np.float64), unit, strict=True):
        length = np.sqrt((row**2).sum())
        np.testing.assert_allclose(scaled, row / length if length else row, rtol=1e-6, atol=1e-30)


# --- the whole ------------------------------------------------------------------------------------------------------


def test_embeddings_are_checked_once_where_they_are_made():
    made = Embeddings(["x", "y"], np.eye(4, dtype=np.float64)[:2], SPACE, [7, 8])
    assert len(made) == 2
    assert made.vectors.dtype == np.float32
    assert made.labels.tolist() == ["7", "8"]


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        (["a"], None, "1 ids for 4 vectors"),
        (list("abcde"), None, "5 ids for 4 vectors"),
        (list("abcd"), ["x"], "labels of shape (1,) for 4 vectors"),
        (list("abcd"), [["x"]] * 4, "labels of shape (4, 1) for 4 vectors"),
        (list("abcd"), np.array(["x", None, None, "y"], dtype=object), "2 of 4 labels are null"),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(ids, labels, message):
    vectors = np.eye(4)
    assert refusal(VectorError, lambda: Embeddings(ids, vectors, SPACE, labels)) == message
    vectors[3] = np.nan
    refusal(VectorError, lambda: Embeddings(ids, vectors, SPACE, labels))


@pytest.mark.parametrize("rows", [np.array([3, 0]), np.array([True, False, False, True, False]), np.array([], int)])
def test_taking_rows_keeps_everything_together(rows):
    made = make()
    taken = made.take(rows)
    np.testing.assert_array_equal(taken.ids, made.ids[rows])
    np.testing.assert_array_equal(taken.vectors, made.vectors[rows])
    np.testing.assert_array_equal(taken.labels, made.labels[rows])
    assert taken.space == made.space
    assert make(labels=False).take(rows).labels is None


# --- Arrow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_table_carries_everything(rows, labels):
    made = make(rows, labels=labels)
    table = made.to_arrow()
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 4)
    assert table.column_names == (["id", "vector", "label"] if labels else ["id", "vector"])
    assert_same(Embeddings.from_arrow(table), made)


def test_numbers_as_ids_stay_numbers():
    made = Embeddings(np.array([30, 7]), np.eye(4)[:2], SPACE)
    assert Embeddings.from_arrow(made.to_arrow()).ids.tolist() == [30, 7]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16()), pa.list_(pa.float64(), 4)]
)
def test_lists_of_every_kind_are_read_in_chunks_and_slices(kind):
    vectors = np.eye(4, dtype=np.float16)
    whole = pa.array(list(vectors), pa.list_(pa.float16())).cast(kind)
    np.testing.assert_array_equal(arrow_to_vectors(whole), vectors)
    np.testing.assert_array_equal(arrow_to_vectors(whole.slice(1, 2)), vectors[1:3])
    chunked = pa.chunked_array([whole.slice(0, 1), whole.slice(4, 0), whole.slice(1, 3)])
    read = arrow_to_vectors(chunked)
    np.testing.assert_array_equal(read, vectors)
    assert read.dtype == np.float32


def test_the_arrow_column_shares_the_memory_of_the_vectors():
    vectors = np.eye(4, dtype=np.float32)
    column = vectors_to_arrow(vectors)
    assert np.shares_memory(column.flatten().to_numpy(), vectors)
    assert np.shares_memory(arrow_to_vectors(column), vectors)


def test_no_rows_have_the_width_of_their_type():
    assert arrow_to_vectors(pa.array([], pa.list_(pa.float32(), 4))).shape == (0, 4)
    assert arrow_to_vectors(pa.chunked_array([], pa.list_(pa.float32()))).shape == (0, 0)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([[1, 2], [3]], pa.list_(pa.float32()), "vectors have unequal lengths"),
        ([[1], [2, 3], [4, 5, 6]], pa.list_(pa.float32()), "vectors have unequal lengths"),
        ([[1, 2, 3], [4]], pa.large_list(pa.float32()), "vectors have unequal lengths"),
        ([[1, 2], None], pa.list_(pa.float32()), "1 of 2 vectors are null"),
        ([[1, 2], None], pa.list_(pa.float32(), 2), "1 of 2 vectors are null"),
        ([[1, None], [2, 3]], pa.list_(pa.float32()), "vectors hold 1 null values"),
        ([[1, None], [2, 3]], pa.list_(pa.float32(), 2), "vectors hold 1 null values"),
        ([1.0, 2.0], pa.float32(), "vectors must be lists of numbers, found float"),
        ([["a"], ["b"]], pa.list_(pa.string()), "vectors must be lists of numbers, found list"),
        (["a"], pa.string(), "vectors must be lists of numbers, found string"),
        ([{"x": 1.0}], pa.struct([("x", pa.float32())]), "vectors must be lists of numbers, found struct"),
    ],
)
def test_columns_that_are_no_vectors_are_refused(values, kind, message):
    assert message in refusal(VectorError, lambda: arrow_to_vectors(pa.array(values, kind)))


def test_chunks_of_unequal_lengths_are_refused():
    chunks = [pa.array([[1.0, 2.0]], pa.list_(pa.float32())), pa.array([[1.0]], pa.list_(pa.float32()))]
    assert refusal(VectorError, lambda: arrow_to_vectors(pa.chunked_array(chunks))) == "vectors have unequal lengths"


def test_empty_lists_are_refused_by_the_space():
    table = pa.table({"id": ["a"], "vector": pa.array([[]], pa.list_(pa.float32()))})
    assert "found (1, 0)" in refusal(VectorError, lambda: Embeddings.from_arrow(table, SPACE))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"]}, "expected columns 'id' and 'vector', found id"),
        ({"ID": ["a"], "vector": [[1.0, 0, 0, 0]]}, "expected columns 'id' and 'vector', found ID, vector"),
        ({}, "expected columns 'id' and 'vector', found none"),
        ({"id": ["a", None], "vector": np.eye(4).tolist()[:2]}, "1 of 2 values of column 'id' are null"),
        ({"id": [1, None], "vector": np.eye(4).tolist()[:2]}, "1 of 2 values of column 'id' are null"),
        ({"id": ["a", "b"], "vector": [[1.0, 0, 0, 0], None]}, "1 of 2 values of column 'vector' are null"),
        (
            {"id": ["a", "b"], "vector": np.eye(4).tolist()[:2], "label": ["x", None]},
            "1 of 2 values of column 'label' are null",
        ),
        ({"id": ["a", "a"], "vector": np.eye(4).tolist()[:2]}, "1 ids occur more than once, the first is a"),
        ({"id": [1.5], "vector": [[1.0, 0, 0, 0]]}, "ids must be strings or integers, found float64"),
    ],
)
def test_tables_that_hold_no_embeddings_are_refused(columns, message):
    assert message in refusal(VectorError, lambda: Embeddings.from_arrow(pa.table(columns), SPACE))


def test_categories_and_further_columns_are_no_obstacle():
    table = make().to_arrow().append_column("price", pa.array(np.arange(5)))
    for number, name in enumerate(("id", "vector", "label")):
        if name != "vector":
            table = table.set_column(number, name, table[name].dictionary_encode())
    assert_same(Embeddings.from_arrow(table), make())


# --- whose space ----------------------------------------------------------------------------------------------------


def test_a_table_without_a_space_needs_one_from_the_caller():
    table = make().to_arrow().replace_schema_metadata(None)
    assert "pass the space" in refusal(SpaceError, lambda: Embeddings.from_arrow(table))
    assert_same(Embeddings.from_arrow(table, SPACE), make())


def test_a_given_space_must_be_the_stored_one():
    table = make().to_arrow()
    renamed = SPACE.model_copy(update={"name": "renamed"})
    assert Embeddings.from_arrow(table, renamed).space == renamed
    other = SPACE.model_copy(update={"fingerprint": "c" * 16})
    message = refusal(SpaceError, lambda: Embeddings.from_arrow(table, other))
    assert message == "stored vectors: found vectors of space made (4-d, aaaaaaaa), expected made (4-d, cccccccc)"


@pytest.mark.parametrize("card", [b"", b"{", b"[]", b'{"name": "x"}', b"\xff"])
def test_a_damaged_space_card_is_refused(card):
    table = make().to_arrow().replace_schema_metadata({SPACE_KEY: card})
    assert "the space card cannot be read" in refusal(SpaceError, lambda: Embeddings.from_arrow(table))
