import numpy as np
import pyarrow as pa
import pytest

from bict.embeddings import Embeddings
from bict.errors import GalleryError, VectorError
from bict.gallery.rows import fit_to_schema, refuse_repeated, to_embeddings, to_rows
from bict.spaces import Space

SPACE = Space(name="one", fingerprint="a" * 16, dim=2)


def some(ids, labels=None):
    return Embeddings(np.array(ids), np.tile([[0.6, 0.8]], (len(ids), 1)), SPACE, labels)


def test_rows_hold_ids_payload_labels_and_vectors_and_come_back():
    table = to_rows(some(["a", "b"], np.array(["x", "y"])), pa.table({"path": ["1", "2"]}), "v1")
    assert table.column_names == ["id", "path", "label", "v1"]
    back = to_embeddings(table, "v1", SPACE, labels=True)
    assert (back.ids.tolist(), back.labels.tolist()) == (["a", "b"], ["x", "y"])
    np.testing.assert_array_equal(back.vectors, some(["a", "b"]).vectors)


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.int64])
def test_integer_ids_are_stored_with_64_signed_bits(dtype):
    assert to_rows(some(np.array([3, 5], dtype)), None, "v1")["id"].type == pa.int64()


def test_an_integer_id_that_does_not_fit_is_refused():
    with pytest.raises(VectorError, match="64 signed bits"):
        to_rows(some(np.array([2**63], np.uint64)), None, "v1")


@pytest.mark.parametrize("name", ["id", "v1", "v27"])
def test_payload_may_not_take_the_gallerys_names(name):
    with pytest.raises(GalleryError, match=f"payload column '{name}'"):
        to_rows(some(["a"]), pa.table({name: [1]}), "v1")


def test_payload_labels_may_not_hide_the_embeddings_labels():
    payload = pa.table({"label": ["z"], "v0": [1], "video": [2]})
    assert to_rows(some(["a"]), payload, "v1")["label"].to_pylist() == ["z"]
    with pytest.raises(GalleryError, match="'label'"):
        to_rows(some(["a"], np.array(["x"])), payload, "v1")


def test_payload_of_another_length_is_refused():
    with pytest.raises(GalleryError, match="2 payload rows for 1 vectors"):
        to_rows(some(["a"]), pa.table({"path": ["1", "2"]}), "v1")


def test_missing_labels_are_refused_only_where_labels_are_wanted():
    table = to_rows(some(["a", "b"]), pa.table({"label": ["x", None]}), "v1")
    assert to_embeddings(table, "v1", SPACE).labels is None
    with pytest.raises(GalleryError, match="1 rows have no label"):
        to_embeddings(table, "v1", SPACE, labels=True)


def test_repeated_ids_are_found_across_chunks():
    refuse_repeated(pa.chunked_array([["a", "b"], ["c"]]))
    with pytest.raises(VectorError, match="1 ids occur more than once, the first is 'b'"):
        refuse_repeated(pa.chunked_array([["a", "b"], ["b"]]))


def test_rows_are_fitted_to_the_schema_of_the_gallery():
    schema = pa.schema({"id": pa.string(), "price": pa.float64(), "n": pa.int64()})
    good = pa.table({"id": ["a"], "n": [1], "price": [2]})
    assert fit_to_schema(good, schema).schema == schema
    for wrong, message in [
        (good.drop(["n"]), "expected .*'n'"),
        (good.set_column(0, "id", pa.array([7])), "ids of type int64, expected string"),
        (good.set_column(1, "n", pa.array(["many"])), "another type"),
    ]:
        with pytest.raises(GalleryError, match=message):
            fit_to_schema(wrong, schema)
