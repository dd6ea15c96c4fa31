"""What is special about the Qdrant store; what every store does is in the contract tests."""

from __future__ import annotations

import datetime
import gc
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from bict.embeddings import Embeddings, arrow_to_vectors, normalise, vectors_to_arrow
from bict.errors import GalleryError, MissingExtra, MissingGallery
from bict.gallery import Gallery
from bict.gallery.adopting import adopt
from bict.gallery.ledger import Entry
from bict.gallery.lock import this_process
from bict.gallery.staging import stage
from bict.gallery.stores import open_store, qdrant_index, qdrant_link, qdrant_ranges, qdrant_side
from bict.gallery.stores.base import source_bytes
from bict.gallery.stores.qdrant import QdrantStore
from bict.gallery.switching import rollback, switch
from bict.gallery.upgrade import upgrade
from bict.gallery.verification import verify
from bict.spaces import Space

pytest.importorskip("qdrant_client")
from qdrant_client import models
from qdrant_client.local.qdrant_local import QdrantLocal

OLD = Space(name="old", fingerprint="a" * 16, dim=4)
NEW = Space(name="new", fingerprint="b" * 16, dim=6, backward_compatible_with=("a" * 16,))
DIM, ROWS = 4, 25


@pytest.fixture(params=["folder", "http"])
def address(request, tmp_path):
    """An unused address in a folder, and on a server."""
    if request.param == "folder":
        return f"qdrant://{tmp_path}/folder?collection=items"
    return f"qdrant://127.0.0.1:{request.getfixturevalue('qdrant_server')[1]}/items"


def vectors_of(rows=ROWS, seed=0):
    return np.random.default_rng(seed).normal(scale=3, size=(rows, DIM)).astype(np.float32)


def table_of(ids, vectors=None, **payload):
    found = vectors_of(len(ids)) if vectors is None else vectors
    return pa.table({"id": ids, **payload, "v1": vectors_to_arrow(found)})


def make(address, table=None, unit_rows=10):
    table = table_of([f"r{row:03d}" for row in range(ROWS)]) if table is None else table
    return QdrantStore.create(address, [table], "{}", unit_rows=unit_rows)


def read(store, *columns):
    return pa.Table.from_batches(list(store.scan(["id", *columns]))).sort_by("id")


def client_of(store):
    """The client that the store uses: a folder lets in one."""
    return store._link._client


def stage_all(store, vectors_of_batch=lambda batch: arrow_to_vectors(batch["v1"])[:, :2]):
    """Every pending unit, in the first two numbers of the source vectors, with a ledger as staging keeps it."""
    store.begin_stage("v2", 2, "cosine")
    ledger = store.ledger("v2")
    for unit in store.pending("v2", ["v1"], ledger.entries(), only_missing=False):
        old, rows = hashlib.sha256(), []

        def new(unit=unit, old=old, rows=rows):
            for batch in store.read_unit(unit, ["id", "v1"]):
                old.update(source_bytes(batch, ["v1"]))
                rows.append(len(batch))
                yield vectors_to_arrow(np.ascontiguousarray(vectors_of_batch(batch)))

        receipt = store.stage_unit(unit, "v2", new())
        sums = {"sha256": "0" * 64, "source_sha256": old.hexdigest()}
        ledger.record(Entry(unit=unit.key, rows=sum(rows), receipt=receipt, **sums))


def pending(store):
    return store.pending("v2", ["v1"], store.ledger("v2").entries(), only_missing=False)


UUIDS = [str(uuid.UUID(int=row)) for row in (5, 3)]


@pytest.mark.parametrize(
    ("ids", "points"),
    [
        ([7, 0, 2**40], [0, 7, 2**40]),
        (UUIDS, sorted(UUIDS)),
        (["shelf/1.jpg", UUIDS[0].replace("0000", "AAAA"), ""], None),
    ],
    ids=["numbers", "uuids", "texts"],
)
def test_ids_become_points_and_come_back(address, ids, points):
    store = make(address, table_of(pa.array(ids), note=pa.array(range(len(ids)))))
    found, _ = client_of(store).scroll("items", limit=10)
    if points:
        assert [record.id for record in found] == points
    assert read(open_store(address), "note").sort_by("note")["id"].to_pylist() == ids
    assert store.fetch(pa.array(ids[:1]), ["note"])["note"].to_pylist() == [0]
    made = [record.id for record in found if record.id not in ids]
    assert store.fetch(pa.array(made, store.schema().field("id").type), []).num_rows == 0
    assert store.delete(pa.array([*ids[:1], *made], store.schema().field("id").type)) == 1
    assert store.count() == len(ids) - 1


def test_numbers_come_before_uuids_and_negative_ones_are_refused(address):
    with pytest.raises(GalleryError, match="found id -1, a Qdrant point takes integers from 0 on"):
        make(address, table_of(pa.array([1, -1])))
    with pytest.raises(MissingGallery, match="is not a gallery"):
        open_store(address)


def test_vectors_of_any_length_are_kept_and_compared_by_angle(address):
    table = table_of([f"r{row:03d}" for row in range(ROWS)])
    store, queries = make(address, table), vectors_of(3, seed=1)
    np.testing.assert_array_equal(arrow_to_vectors(read(store, "v1")["v1"]), vectors_of())
    exact, near = (store.search("v1", queries, 5, "cosine", exact=how) for how in (True, False))
    expected = normalise(queries) @ normalise(vectors_of()).T
    np.testing.assert_allclose(exact.scores, -np.sort(-expected)[:, :5], rtol=1e-5)
    assert near.ids.tolist() == exact.ids.tolist()
    by_dot = [store.search("v1", queries, 5, "dot", exact=how) for how in (True, False)]
    assert by_dot[0].ids.tolist() == by_dot[1].ids.tolist() != exact.ids.tolist()
    np.testing.assert_allclose(by_dot[1].scores, by_dot[0].scores, rtol=1e-6)


def payload_of():
    now = datetime.datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=datetime.UTC)
    return {
        "text": pa.array(["a", None, "ü"]),
        "whole": pa.array([2**62, None, -1], pa.int64()),
        "small": pa.array([1, None, 255], pa.uint8()),
        "float": pa.array([0.1, None, float("inf")], pa.float32()),
        "flag": pa.array([True, None, False]),
        "shop": pa.array(["north", None, "north"]).dictionary_encode(),
        "tags": pa.array([[1, None], None, []], pa.list_(pa.int16())),
        "weights": pa.array([[0.5, float("-inf")], None, [1.0]], pa.list_(pa.float64())),
        "box": pa.array([{"x": 1.5, "name": None}, None, {"x": 2.0, "name": "b"}]),
        "taken": pa.array([now, None, now], pa.timestamp("us", "Europe/Berlin")),
        "day": pa.array([now.date(), None, now.date()]),
        "hour": pa.array([now.time(), None, now.time()], pa.time64("us")),
        "price": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(8, 2)),
        "thumb": pa.array([b"\x00\xff", None, b""]),
        "nothing": pa.array([None, None, None], pa.string()),
        "a.b": pa.array([1, None, 3]),
    }


def test_payload_comes_back_in_its_types_with_its_nulls(address):
    table = table_of(["a", "b", "c"], **payload_of())
    store = make(address, table)
    again = open_store(address)
    assert again.schema() == store.schema() == table.schema
    names = [name for name in table.column_names if name not in ("id", "v1")]
    found = again.fetch(pa.array(["a", "b", "c"]), names).sort_by("id")
    for name in names:
        assert found[name].to_pylist() == table[name].to_pylist(), name
        assert found[name].type == table[name].type
    assert read(again, "text").column_names == ["id", "text"]


def test_payload_that_json_cannot_hold_is_refused(address):
    odd = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))
    for payload in ({"odd": odd}, {"bict_id": pa.array(["x"])}):
        with pytest.raises(GalleryError, match=r"payload column '(odd|bict_id)'"):
            make(address, table_of(["a"], **payload))
    assert make(address, table_of(["a"])).count() == 1


def test_a_source_vector_that_somebody_else_changes_is_found(address):
    store = make(address)
    stage_all(store)
    assert pending(store) == []
    [changed] = client_of(store).scroll("items", scroll_filter=by_id("r004"))[0]
    vector = models.PointVectors(id=changed.id, vector={"v1": [1.0, 2.0, 3.0, 4.0]})
    client_of(store).update_vectors("items", [vector])
    assert len(pending(store)) == 1
    with pytest.raises(GalleryError, match="run again"):
        store.publish("{}", "v2", ["v1"])
    stage_all(store)
    assert pending(store) == []
    assert store.fetch(pa.array(["r004"]), ["v2"])["v2"].to_pylist() == [[1.0, 2.0]]


def by_id(value):
    return models.Filter(must=[models.FieldCondition(key="bict_id", match=models.MatchValue(value=value))])


def test_points_deleted_while_a_unit_is_staged_do_not_come_back(address):
    store, other = make(address), open_store(address)
    gone = []

    def shortened(batch):
        if not gone:
            gone.extend(batch["id"].to_pylist()[::3])
            other.delete(pa.array(gone))
        return arrow_to_vectors(batch["v1"])[:, :2]

    stage_all(store, shortened)
    assert store.count() == ROWS - len(gone)
    stage_all(store)
    assert pending(store) == []
    left = [row for row in range(ROWS) if f"r{row:03d}" not in gone]
    np.testing.assert_array_equal(arrow_to_vectors(read(store, "v2")["v2"]), vectors_of()[left, :2])


def test_a_whole_unit_deleted_while_it_is_staged_stays_away(address):
    store = make(address, unit_rows=ROWS)

    def erased(batch):
        store.delete(batch["id"])
        return arrow_to_vectors(batch["v1"])[:, :2]

    stage_all(store, erased)
    assert (store.count(), store.units("v2"), pending(store)) == (0, [], [])


def test_rows_that_slip_in_at_the_switch_take_it_back(address, monkeypatch):
    store, other = make(address), open_store(address)
    stage_all(store)
    store.read_metadata()
    written = store._side.write_metadata

    def and_a_row(text):
        written(text)
        monkeypatch.setattr(store._side, "write_metadata", written)
        other.append(table_of(["late"]))

    monkeypatch.setattr(store._side, "write_metadata", and_a_row)
    with pytest.raises(GalleryError, match="were added or changed since 'v2' was staged: run again"):
        store.publish('{"new": 1}', "v2", ["v1"])
    assert other.read_metadata() == "{}"


def test_units_are_ranges_that_new_rows_fall_into(address):
    store = make(address, table_of(pa.array(range(10, 35))))
    store.begin_stage("v2", 2, "cosine")
    assert [(unit.key, unit.rows) for unit in store.units("v2")] == [("..20", 10), ("20..30", 10), ("30..", 5)]
    store.append(table_of(pa.array([3, 99])))
    store.delete(pa.array(range(20, 30)))
    again = open_store(address)
    assert [(unit.key, unit.rows) for unit in again.units("v2")] == [("..30", 11), ("30..", 6)]
    batches = [batch for unit in again.units("v2") for batch in again.read_unit(unit, ["id"])]
    assert pa.Table.from_batches(batches)["id"].to_pylist() == [3, *range(10, 20), *range(30, 35), 99]


def notes_of(store):
    """Everything in the notes, as text."""
    return " ".join(str(record.payload) for record in client_of(store).scroll("items__bict", limit=1000)[0])


def test_ids_that_bound_units_leave_the_notes_with_their_rows(address):
    store = make(address, table_of(pa.array(range(7000, 7040))))
    stage_all(store)
    assert sorted(store.ledger("v2").entries()) == ["..7010", "7010..7020", "7020..7030", "7030.."]
    [old] = [unit for unit in store.units("v2") if unit.key == "7010..7020"]
    stale = store.ledger("v2").entries()[old.key]
    assert store.delete(pa.array([7020, 7015])) == 2
    assert sorted(store.ledger("v2").entries()) == ["..7010", "7030.."]
    assert [(unit.key, unit.rows) for unit in pending(store)] == [("7010..7030", 18)]
    store.ledger("v2").record(stale)  # of a run that read the unit before
    assert "7020" not in notes_of(store)
    stage_all(store)
    assert pending(store) == []
    np.testing.assert_array_equal(
        arrow_to_vectors(read(store, "v2")["v2"]), np.delete(vectors_of(40), [15, 20], axis=0)[:, :2]
    )


def test_deletions_beside_each_other_both_leave_the_notes(address, monkeypatch):
    store, other = make(address, table_of(pa.array(range(7000, 7040)))), open_store(address)
    stage_all(store)
    swap = store._side.swap

    def after_another(*args):
        monkeypatch.setattr(store._side, "swap", swap)
        other.delete(pa.array([7020]))
        swap(*args)

    monkeypatch.setattr(store._side, "swap", after_another)
    store.delete(pa.array([7010]))
    assert [unit.key for unit in store.units("v2")] == ["..7030", "7030.."]
    assert "7010" not in (notes := notes_of(store))
    assert "7020" not in notes


def test_an_id_deleted_while_the_units_are_noted_does_not_stay_there(address, monkeypatch):
    store, other = make(address, table_of(pa.array(range(7000, 7040)))), open_store(address)
    beginnings = store._ranges._beginnings

    def and_one_less():
        found = beginnings()
        other.delete(pa.array([7020]))
        return found

    monkeypatch.setattr(store._ranges, "_beginnings", and_one_less)
    store.begin_stage("v2", 2, "cosine")
    assert [unit.key for unit in store.units("v2")] == ["..7010", "7010..7030", "7030.."]


def test_an_entry_recorded_while_its_unit_is_joined_is_removed(address, monkeypatch):
    store, other = make(address, table_of(pa.array(range(7000, 7040)))), open_store(address)
    stage_all(store)
    stale, write = store.ledger("v2").entries()["7010..7020"], store._side.write

    def late(name, note):
        other.delete(pa.array([7020]))
        write(name, note)

    monkeypatch.setattr(store._side, "write", late)
    store.ledger("v2").record(stale)
    assert "7020" not in notes_of(store)


@pytest.mark.parametrize("missing", [True, False])
def test_what_is_missing_is_counted_without_reading_vectors(address, missing, monkeypatch):
    store = make(address)
    stage_all(store)
    if missing:
        store.append(table_of(["late"]))
    asked, ask = [], store._link.ask

    def noted(doing, method, **arguments):
        asked.append((method, arguments.get("with_vectors")))
        return ask(doing, method, **arguments)

    monkeypatch.setattr(store._link, "ask", noted)
    found = store.pending("v2", ["v1"], store.ledger("v2").entries(), only_missing=True)
    assert len(found) == missing
    assert not any(vectors for _, vectors in asked)
    assert missing or "scroll" not in [method for method, _ in asked]


def embedded(rows=ROWS, space=OLD, start=0):
    vectors = normalise(np.random.default_rng(start + 7).normal(size=(rows, space.dim)).astype(np.float32))
    return Embeddings(np.array([f"image-{row}" for row in range(start, start + rows)]), vectors, space)


def test_restaging_keeps_what_a_model_wrote(tmp_path, linear, monkeypatch):
    """Rows added in the new space share ranges with old ones; checksums run over several pages and two columns."""
    address = f"qdrant://{tmp_path}/folder?collection=items"
    monkeypatch.setattr(qdrant_ranges, "PAGE", 4)
    gallery = Gallery.create(address, embedded(), unit_rows=10)
    upgrade(gallery, linear())
    gallery.add(embedded(6, NEW, start=100))
    rollback(gallery, leave_out=True)
    gallery.add(embedded(3, OLD, start=5), replace=True)
    stage(gallery, linear())
    assert verify(gallery, linear()).passed
    switch(gallery)
    model = gallery.vectors()
    rows = [model.ids.tolist().index(f"image-{row}") for row in range(100, 106)]
    np.testing.assert_array_equal(model.vectors[rows], embedded(6, NEW, start=100).vectors)
    third = Space(name="third", fingerprint="c" * 16, dim=5)
    both = (linear(target=third), linear(source=NEW, target=third, seed=1))
    assert upgrade(gallery, both).column == "v3"
    store = gallery.store
    assert store.pending("v3", ["v1", "v2"], store.ledger("v3").entries(), only_missing=False) == []


def test_rows_that_only_the_live_column_has_hold_a_switch_up(address, linear, monkeypatch):
    """Also rows without a vector in the source; those that have one in both are no reason, whatever checksums say."""
    monkeypatch.setattr(qdrant_index, "POLL_SECONDS", 0.01)
    third = Space(name="third", fingerprint="c" * 16, dim=5)
    gallery = Gallery.create(address, embedded(), unit_rows=10)
    upgrade(gallery, linear())
    onward = linear(target=third)
    stage(gallery, onward)
    assert verify(gallery, onward).passed
    two = pa.table({"id": ["both", "one"], "v2": vectors_to_arrow(embedded(2, NEW).vectors)})
    both = two.slice(0, 1).append_column("v3", vectors_to_arrow(embedded(1, third).vectors))
    gallery.store.append(both)
    gallery.store.append(two.slice(1))
    with pytest.raises(GalleryError, match=r"1 rows of .* have a vector in v2 and none in 'v3': run again"):
        switch(gallery)
    assert gallery.active_column == "v2"
    gallery.delete(["one"])
    assert switch(gallery) == "v3"


def foreign(address, points, vectors, **settings):
    """A collection that somebody else made."""
    place = qdrant_link.parse(address)
    if place.folder:
        place.folder.mkdir(exist_ok=True)
        (place.folder / "meta.json").write_text('{"collections": {}, "aliases": {}}')
    client = client_of(holder := QdrantStore(address))
    client.create_collection("items", vectors_config=vectors, **settings)
    if points:
        client.upsert("items", points)
    return holder


def test_a_collection_of_somebody_else_is_adopted_and_upgraded(address, linear, monkeypatch):
    monkeypatch.setattr(qdrant_index, "POLL_SECONDS", 0.01)
    old = embedded().vectors
    points = [
        models.PointStruct(id=row, vector={"image": vector.tolist()}, payload={"shop": "north", "price": row / 7})
        for row, vector in enumerate(3 * old)
    ]
    keep = foreign(address, points, {"image": models.VectorParams(size=4, distance=models.Distance.COSINE)})
    store = open_store(address)
    assert store.read_metadata() is None
    assert store.schema().names == ["id", "shop", "price", "image"]
    with pytest.raises(GalleryError, match="called 'id', not 'shop'"):
        adopt(address, id_column="shop", vector_column="image", space=OLD)
    gallery = adopt(address, id_column="id", vector_column="image", space=OLD)
    np.testing.assert_allclose(gallery.vectors().vectors, old, atol=1e-6)
    report = upgrade(gallery, linear())
    assert report.column == gallery.active_column == "v2"
    expected = linear().apply(gallery.vectors("image"))
    np.testing.assert_array_equal(gallery.vectors().vectors, expected.vectors)
    found = gallery.search(expected.take(np.arange(3)), 1, include=["price"])
    np.testing.assert_allclose(found.payload["price"][:, 0], [0, 1 / 7, 2 / 7])
    assert rollback(Gallery.open(address)) == "image"
    untouched = client_of(keep).retrieve("items", [4], with_vectors=["image"])[0]
    assert untouched.payload == {"shop": "north", "price": 4 / 7}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"size": 3, "distance": models.Distance.DOT}, "vectors of 3 numbers, distance Dot"),
        ({"size": 2, "distance": models.Distance.COSINE}, "vectors of 2 numbers, distance Cosine"),
    ],
)
def test_a_vector_of_somebody_else_is_not_staged_over(address, there, said):
    params = {"v1": models.VectorParams(size=4, distance=models.Distance.DOT), "v2": models.VectorParams(**there)}
    own = [1.0] + [0.0] * (there["size"] - 1)
    points = [models.PointStruct(id=1, vector={"v1": [1.0, 2.0, 3.0, 4.0], "v2": own})]
    store = foreign(address, points, params)
    with pytest.raises(GalleryError, match=f"column 'v2' of .* is there already, as {said}: rename or remove it"):
        store.begin_stage("v2", 2, "cosine")
    assert client_of(store).retrieve("items", [1], with_vectors=True)[0].vector["v2"] == own


def test_payload_with_the_name_of_a_column_is_payload(address):
    store = make(address, table_of(["a", "b"], v2=pa.array([7, None])))
    assert read(open_store(address), "v2")["v2"].to_pylist() == [7, None]
    with pytest.raises(GalleryError, match="is there already, as payload of type int64"):
        store.begin_stage("v2", 2, "cosine")


def test_multivectors_sparse_vectors_and_payload_are_not_staged_over(tmp_path):
    address = f"qdrant://{tmp_path}/folder?collection=items"
    many = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    dot = {"distance": models.Distance.DOT}
    params = {
        "v1": models.VectorParams(size=4, **dot),
        "v2": models.VectorParams(size=2, multivector_config=many, **dot),
    }
    points = [models.PointStruct(id=1, vector={"v1": [1.0, 2.0, 3.0, 4.0]}, payload={"v4": "mine"})]
    store = foreign(address, points, params, sparse_vectors_config={"v3": models.SparseVectorParams()})
    for column, said in [("v2", "multivectors of 2"), ("v3", "sparse vectors"), ("v4", "payload of type string")]:
        with pytest.raises(GalleryError, match=f"is there already, as {said}"):
            store.begin_stage(column, 2, "cosine")


def test_notes_about_a_deleted_collection_are_not_taken_for_those_of_another(address, linear, monkeypatch):
    monkeypatch.setattr(qdrant_index, "POLL_SECONDS", 0.01)
    upgrade(Gallery.create(address, embedded()), linear())
    keep = open_store(address)
    client_of(keep).delete_collection("items")
    points = [models.PointStruct(id=row, vector={"v1": v.tolist()}) for row, v in enumerate(embedded().vectors)]
    foreign(address, points, {"v1": models.VectorParams(size=4, distance=models.Distance.DOT)})
    store = open_store(address)
    assert store.read_metadata() is None
    assert store.schema().field("id").type == pa.int64()
    with pytest.raises(GalleryError, match="make it a gallery with bict gallery adopt"):
        Gallery.open(address)
    gallery = adopt(address, id_column="id", vector_column="v1", space=OLD)
    assert open_store(address).ledger("v2").entries() == {}
    assert upgrade(gallery, linear()).column == "v2"
    np.testing.assert_array_equal(gallery.vectors().vectors, linear().apply(embedded()).vectors)


def test_a_collection_with_one_vector_without_a_name_is_refused(tmp_path):
    address = f"qdrant://{tmp_path}/folder?collection=items"
    keep = foreign(address, [], models.VectorParams(size=4, distance=models.Distance.DOT))
    with pytest.raises(GalleryError, match="a vector without a name"):
        open_store(keep.address)


def test_a_collection_whose_writing_was_cut_off_is_no_gallery(address):
    store = make(address)
    store._side.write(qdrant_side.CREATING, {})
    with pytest.raises(GalleryError, match="is not a gallery yet, its first writing was cut off"):
        open_store(address)


def test_the_index_is_left_alone_while_a_column_is_written(qdrant_server, monkeypatch):
    monkeypatch.setattr(qdrant_index, "POLL_SECONDS", 0.01)
    server, port = qdrant_server
    store = make(f"qdrant://127.0.0.1:{port}/items")
    stage_all(store)
    edges = lambda: server.collections["items"].vectors["v2"]["hnsw_config"]["m"]  # noqa: E731
    assert edges() == 0
    told = []
    assert store.build_index("v2", "cosine", lambda *call: told.append(call)).startswith("HNSW, 16 edges a node")
    assert told == [(ROWS, ROWS)] * 3  # the vectors of v1 that the server counted before are no progress
    store.begin_stage("v2", 2, "cosine")
    assert edges() == 16


def test_staged_vectors_come_back_byte_for_byte_from_qdrants_engine(tmp_path):
    edge = pytest.importorskip("qdrant_edge")
    (tmp_path / "shard").mkdir()
    dot = {"v1": edge.EdgeVectorParams(DIM, edge.Distance.Dot)}
    shard = edge.EdgeShard.create(str(tmp_path / "shard"), edge.EdgeConfig(vectors=dot))
    do, old, new = edge.UpdateOperation, vectors_of(), vectors_of(seed=1)
    shard.update(do.upsert_points([edge.Point(row, {"v1": v.tolist()}) for row, v in enumerate(old)]))
    shard.update(do.create_dense_vector("v2", DIM, edge.Distance.Dot))
    shard.update(do.update_vectors([edge.PointVectors(row, {"v2": v.tolist()}) for row, v in enumerate(new)]))
    shard.optimize()
    found, _ = shard.scroll(edge.ScrollRequest(limit=ROWS, with_vector=["v1", "v2"]))
    for name, expected in (("v1", old), ("v2", new)):
        assert np.array([record.vector[name] for record in found], np.float32).tobytes() == expected.tobytes()
    shard.close()


def lease_of(pid, *, host=None, beat=None):
    owner = this_process("upgrade").model_copy(update={"pid": pid, "host": host or socket.gethostname()})
    return {"token": "theirs", "owner": owner.model_dump_json(), "beat": beat or time.time()}


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("over", ["dead", "silent"])
def test_the_lease_of_a_dead_or_silent_process_is_taken(qdrant_server, over):
    address = f"qdrant://127.0.0.1:{qdrant_server[1]}/items"
    store = make(address)
    note = lease_of(dead_pid()) if over == "dead" else lease_of(1, host="elsewhere", beat=time.time() - 61)
    store._side.write(qdrant_side.LEASE, note)
    with store.locked("second"):
        held = store._side.read(qdrant_side.LEASE)
        assert json.loads(held["owner"])["pid"] == os.getpid()
    assert store._side.read(qdrant_side.LEASE) is None


def test_a_lease_is_renewed_while_it_is_held(qdrant_server, monkeypatch):
    monkeypatch.setattr(qdrant_side, "BEAT_SECONDS", 0.05)
    store = make(f"qdrant://127.0.0.1:{qdrant_server[1]}/items")
    with store.locked("first"):
        before = store._side.read(qdrant_side.LEASE)["beat"]
        time.sleep(0.4)
        assert store._side.read(qdrant_side.LEASE)["beat"] > before
    store._side.write(qdrant_side.LEASE, lease_of(1, host="elsewhere"))
    with pytest.raises(GalleryError, match=r"is being worked on by .*process 1 on elsewhere"), store.locked("second"):
        pass


@pytest.mark.parametrize(
    "address",
    [
        "qdrant://:s3cret@host:6333/items",
        "qdrant://s3cret@host:6333/items",
        "qdrant://host:6333/items?api_key=s3cret",
        "qdrant://host:6333/items#s3cret",
        "qdrant://host:s3cret/items",
        "qdrant:///folder?collection=items&key=s3cret",
        "qdrant://host:6333/items?s3cret",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(GalleryError, match="qdrant://HOST:PORT/COLLECTION") as caught:
        open_store(address)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["qdrant://host:6333", "qdrant://host/a/b", "qdrant:///folder", "qdrant://?collection=a"]
)
def test_an_address_without_a_collection_is_refused(address):
    with pytest.raises(GalleryError, match=r"names no|cannot be read|more than a place"):
        open_store(address)


def test_the_key_comes_from_the_environment_and_is_never_shown(qdrant_server, monkeypatch):
    server, port = qdrant_server
    server.key, address = "s3cret", f"qdrant://127.0.0.1:{port}/items"
    with pytest.raises(GalleryError, match=r"401 .*an API key is read from BICT_QDRANT_API_KEY") as caught:
        open_store(address)
    monkeypatch.setenv("BICT_QDRANT_API_KEY", "s3cret")
    store = make(address)
    assert store.count() == ROWS
    assert "s3cret" not in f"{caught.value}{store.address}{store.reach()}{store._place}"


@pytest.mark.parametrize("host", ["db.example", "10.0.0.7", "[fd00::7]"])
def test_a_key_is_not_sent_unencrypted(host, monkeypatch):
    monkeypatch.setenv("BICT_QDRANT_API_KEY", "s3cret")
    with pytest.raises(GalleryError, match=r"would be sent to .* unencrypted: add \?https=1 to the address") as caught:
        open_store(f"qdrant://{host}:6333/items")
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert QdrantStore(f"qdrant://{host}:6333/items?https=1").reach().servers
    assert QdrantStore("qdrant://127.0.0.2:6333/items").reach().servers


def test_a_server_that_does_not_answer_is_one_line(qdrant_server, monkeypatch):
    server, port = qdrant_server
    store = make(f"qdrant://127.0.0.1:{port}/items")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    with pytest.raises(GalleryError, match=r"gave no answer while looking for the collection .*run the same") as caught:
        open_store(f"qdrant://127.0.0.1:{closed}/items")
    assert "\n" not in str(caught.value)
    monkeypatch.delitem(server.collections, "items")
    with pytest.raises(GalleryError, match=r"404 Not found: Collection `items`.*run the same command again"):
        store.count()


def test_a_folder_that_another_process_has_open_is_refused(tmp_path):
    address = f"qdrant://{tmp_path}/folder?collection=items"
    make(address)
    gc.collect()
    assert not qdrant_link._clients  # closed with the last store
    holder = (
        "import sys, qdrant_client; c = qdrant_client.QdrantClient(path=sys.argv[1]); print(0, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, f"{tmp_path}/folder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "0\n"
        with pytest.raises(GalleryError, match="is open in another process"):
            open_store(address)
        process.communicate("\n")
    assert open_store(address).count() == ROWS


@pytest.mark.parametrize("command", [["gallery", "info"], ["upgrade", "status"]])
def test_looking_at_a_folder_that_another_process_works_in_is_one_clear_line(tmp_path, command):
    address = f"qdrant://{tmp_path}/folder?collection=items"
    gallery = Gallery.create(address, embedded())
    with gallery.store.locked("upgrade"):
        run = [sys.executable, "-m", "bict", *command, address]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"bict: {address} is open in another process, and a folder of Qdrant's local mode admits one process at a "
        "time, also to read: run again after it, or keep the gallery on a Qdrant server"
    ]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    with pytest.raises(GalleryError, match="exists and is no folder of Qdrant's local mode"):
        make(f"qdrant://{tmp_path}/folder?collection=items")
    with pytest.raises(MissingGallery, match="is not a gallery"):
        open_store(f"qdrant://{tmp_path}/folder?collection=items")
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["notes.txt"]


def test_deleted_rows_and_dropped_columns_leave_the_folder(tmp_path):
    address = f"qdrant://{tmp_path}/folder?collection=items"
    table = table_of(["a", "b"], note=pa.array(["do-not-keep-me", "keep-me"]))
    store = make(address, table)
    stage_all(store)
    held = lambda text: any(text in file.read_bytes() for file in tmp_path.rglob("*.sqlite*"))  # noqa: E731
    assert held(b"do-not-keep-me")
    store.delete(pa.array(["a"]))
    store.drop_column("v2")
    assert store.reclaim() == []
    assert held(b"keep-me")
    assert not held(b"do-not-keep-me")


@pytest.mark.parametrize("cut", ["join_units", "erase_free_pages"])
def test_a_deletion_that_was_cut_off_is_finished_by_the_next(tmp_path, cut, monkeypatch):
    address = f"qdrant://{tmp_path}/folder?collection=items"
    table = table_of(pa.array(range(500_010, 500_040)), note=pa.array([f"note-{row}" for row in range(10, 40)]))
    store = make(address, table)
    stage_all(store)
    held = lambda text: any(text in file.read_bytes() for file in tmp_path.rglob("*.sqlite*"))  # noqa: E731
    written = [b"note-20", b"..500020", (500_020).to_bytes(4, "little")]  # in payload, a ledger key, a list of starts
    with monkeypatch.context() as cutting:

        def killed(*_):
            raise KeyboardInterrupt

        for part in (store._side, store._link) if cut == "erase_free_pages" else (store._side,):
            cutting.setattr(part, cut, killed)
        with pytest.raises(KeyboardInterrupt):
            store.delete(pa.array([500_020]))
    assert store.count() == 29
    assert held(written[0])
    assert open_store(address).delete(pa.array([500_020])) == 0
    assert not any(map(held, written))


def test_a_column_is_not_dropped_from_under_rows_that_have_nothing_else(address):
    store = make(address)
    stage_all(store)
    store.append(table_of(["late", "later"]))
    for kept, rows in ((["v2"], 2), ([], ROWS + 2)):
        with pytest.raises(GalleryError, match=f"{rows} rows of .* have a vector only in 'v1'"):
            store.drop_column("v1", kept)
    assert len(store.ledger("v2").entries()) == 3
    store.delete(pa.array(["late", "later"]))
    store.drop_column("v1", ["v2"])
    store.drop_column("v2")
    assert store.schema().names == ["id"]


def test_many_points_in_a_folder_are_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(QdrantLocal, "LARGE_DATA_THRESHOLD", 5)
    monkeypatch.setattr("qdrant_client.local.local_collection.LocalCollection.LARGE_DATA_THRESHOLD", 5)
    address = f"qdrant://{tmp_path}/folder?collection=items"
    assert make(address).count() == ROWS
    gc.collect()
    assert open_store(address).build_index("v1", "cosine") == "none: local mode searches exactly"


def test_without_the_client_the_install_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(MissingExtra, match=r"pip install 'bict\[qdrant\]'"):
        open_store("qdrant://127.0.0.1:1/items")
