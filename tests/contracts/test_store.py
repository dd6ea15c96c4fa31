"""What every store must do, checked against plain numpy."""

from __future__ import annotations

import itertools

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from bict.embeddings import arrow_to_vectors, vectors_to_arrow
from bict.errors import GalleryError, UnknownName, VectorError
from bict.gallery.stores import STORES, open_store, store_of

DIM = 5


@pytest.fixture(params=sorted(STORES))
def store_class(request):
    return STORES[request.param]


@pytest.fixture
def address(tmp_path):
    return str(tmp_path / "store")


def vectors_of(rows, seed=0):
    return np.random.default_rng(seed).normal(scale=3, size=(rows, DIM)).astype(np.float32)


def table_of(vectors, start=0):
    ids = pa.array([f"r{row}" for row in range(start, start + len(vectors))])
    return pa.table({"id": ids, "note": pa.array(range(start, start + len(vectors))), "v1": vectors_to_arrow(vectors)})


def make(store_class, address, rows=23, unit_rows=10):
    return store_class.create(address, [table_of(vectors_of(rows))], '{"first": 1}', unit_rows=unit_rows)


def reference(queries, gallery, metric):
    """Scores `(queries, gallery)` written out pair by pair in float64."""
    scores = np.empty((len(queries), len(gallery)))
    for i, q in enumerate(queries.astype(np.float64)):
        for j, g in enumerate(gallery.astype(np.float64)):
            scores[i, j] = {
                "cosine": q @ g / np.sqrt((q @ q) * (g @ g)),
                "dot": q @ g,
                "l2": -((q - g) ** 2).sum(),
            }[metric]
    return scores


def read(store, column):
    return arrow_to_vectors(pa.Table.from_batches(store.scan([column]))[column])


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_search_gives_the_ids_and_scores_of_an_exact_reference(store_class, address, metric):
    store, queries = make(store_class, address), vectors_of(4, seed=1)
    expected = reference(queries, vectors_of(23), metric)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :6]
    hits = store.search("v1", queries, 6, metric)
    assert hits.ids.tolist() == [[f"r{row}" for row in rows] for rows in order]
    np.testing.assert_allclose(hits.scores, np.take_along_axis(expected, order, 1), rtol=1e-4, atol=1e-4)


def test_search_of_fewer_rows_than_k_gives_all(store_class, address):
    hits = make(store_class, address, rows=3).search("v1", vectors_of(2, seed=1), 10, "dot")
    assert hits.ids.shape == hits.scores.shape == (2, 3)
    with pytest.raises(UnknownName, match="hamming"):
        open_store(address).search("v1", vectors_of(1), 1, "hamming")


def test_ties_keep_the_scan_order(store_class, address):
    same = np.ones((7, DIM), np.float32)
    store = store_class.create(address, [table_of(same)], "{}", unit_rows=3)
    assert store.search("v1", same[:1], 4, "dot").ids.tolist() == [["r0", "r1", "r2", "r3"]]


def test_rows_are_scanned_in_the_order_they_were_written(store_class, address):
    store = make(store_class, address)
    store.append(table_of(vectors_of(4, seed=2), start=23))
    ids = [batch["id"].to_pylist() for batch in store.scan(["id"], batch_rows=6)]
    assert max(map(len, ids)) <= 6
    assert list(itertools.chain(*ids)) == [f"r{row}" for row in range(27)]
    assert store.count() == 27
    np.testing.assert_array_equal(read(store, "v1"), np.concatenate([vectors_of(23), vectors_of(4, seed=2)]))


def test_fetch_gives_the_rows_with_the_ids(store_class, address):
    store = make(store_class, address)
    found = store.fetch(pa.array(["r21", "r3", "nobody"]), ["note"])
    assert found.to_pydict() == {"id": ["r3", "r21"], "note": [3, 21]}


def test_metadata_is_replaced_as_a_whole_and_not_over_the_head_of_another_writer(store_class, address):
    first = make(store_class, address)
    second = open_store(address)
    assert first.read_metadata() == second.read_metadata() == '{"first": 1}'
    first.write_metadata('{"second": 2}')
    with pytest.raises(GalleryError, match="run again"):
        second.write_metadata('{"third": 3}')
    assert second.read_metadata() == open_store(address).read_metadata() == '{"second": 2}'


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused_before_anything_is_written(store_class, address, value):
    store, wrong = make(store_class, address), vectors_of(4)
    wrong[2, 1] = value
    with pytest.raises(VectorError, match="1 of 4 vectors are not finite"):
        store.append(table_of(wrong, start=23))
    assert store.count() == 23
    with pytest.raises(VectorError):
        store_class.create(address + "-2", [table_of(vectors_of(3)), table_of(wrong, 3)], "{}", unit_rows=10)
    with pytest.raises(GalleryError):
        store_class.open(address + "-2")


def test_create_refuses_an_address_in_use_no_rows_and_batches_that_differ(store_class, address):
    make(store_class, address)
    for tables, message in [
        ([table_of(vectors_of(2))], "not an empty folder"),
        ([], "nothing to store"),
        ([table_of(vectors_of(2)), table_of(vectors_of(2)).drop(["note"])], "a batch has columns"),
    ]:
        with pytest.raises(GalleryError, match=message):
            store_class.create(address if "empty" in message else address + "-2", tables, "{}", unit_rows=10)


def stage_all(store, dim=3):
    """New vectors are the first columns of the old ones."""
    store.begin_stage("v2", dim)
    receipts = {}
    for unit in store.units():
        blocks = (arrow_to_vectors(batch["v1"])[:, :dim] for batch in store.read_unit(unit, ["v1"]))
        receipts[unit.key] = store.stage_unit(unit, "v2", blocks)
    return receipts


def test_a_staged_column_appears_in_one_step_and_leaves_the_rest_alone(store_class, address):
    store = make(store_class, address)
    assert [unit.rows for unit in store.units()] == [10, 10, 3]
    receipts = stage_all(store)
    assert pa.Table.from_batches(store.scan(["v2"]))["v2"].null_count == 23
    again = open_store(address)  # receipts are good in another process
    again.commit_staged("v2", receipts)
    np.testing.assert_array_equal(read(again, "v2"), vectors_of(23)[:, :3])
    np.testing.assert_array_equal(read(again, "v1"), vectors_of(23))
    assert [unit.key for unit in again.units()] == list(receipts)
    again.drop_column("v2")
    again.drop_column("v2")
    assert again.schema().names == ["id", "note", "v1"]


def test_staging_refuses_too_few_vectors_and_rows_added_meanwhile(store_class, address):
    store = make(store_class, address)
    receipts = stage_all(store)
    for blocks in ([np.ones((9, 3), np.float32)], [np.ones((11, 3), np.float32)]):
        with pytest.raises(GalleryError, match="one vector per row"):
            store.stage_unit(store.units()[0], "v2", blocks)
    store.append(table_of(vectors_of(2), start=23))
    with pytest.raises(GalleryError, match="stage again"):
        store.commit_staged("v2", receipts)


def test_staging_after_rows_were_deleted_by_another_tool(address):
    store = make(STORES["lance"], address)
    stale = store.units()[0]
    lancedb.connect(address).open_table("vectors").delete("note IN (0, 4, 9, 10, 22)")
    store.begin_stage("v2", 3)
    with pytest.raises(GalleryError, match="changed by another process"):
        list(store.read_unit(stale, ["v1"]))
    store.commit_staged("v2", stage_all(store))
    kept = np.delete(vectors_of(23), [0, 4, 9, 10, 22], axis=0)
    np.testing.assert_array_equal(read(store, "v2"), kept[:, :3])


def test_an_address_names_its_store(address):
    assert store_of("lance://some/folder") == (STORES["lance"], "some/folder")
    with pytest.raises(UnknownName, match="'lanse': did you mean 'lance'"):
        open_store("lanse://x")
    with pytest.raises(GalleryError, match="is not a gallery"):
        open_store(address)
