"""What every store must do, checked against plain numpy."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bict.embeddings import arrow_to_vectors, vectors_to_arrow
from bict.errors import GalleryError, SettingsError, UnknownName, VectorError
from bict.gallery.ledger import Entry
from bict.gallery.stores import STORES, open_store, store_of

DIM = 5


@pytest.fixture(params=[*sorted(STORES), "lance over s3", "qdrant over http"])
def address(request, store_addresses):
    """A fresh address of each store in turn, for a gallery or for a second one."""
    return store_addresses(request.param)


def vectors_of(rows, seed=0):
    return np.random.default_rng(seed).normal(scale=3, size=(rows, DIM)).astype(np.float32)


def table_of(vectors, start=0):
    ids = pa.array([f"r{row:03d}" for row in range(start, start + len(vectors))])
    note = pa.array(range(start, start + len(vectors)))
    return pa.table({"id": ids, "note": note, "v1": vectors_to_arrow(vectors)})


def make(address, rows=23, unit_rows=10):
    kind, place = store_of(address)
    return kind.create(place, [table_of(vectors_of(rows))], '{"first": 1}', unit_rows=unit_rows)


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


def read(store, *columns):
    """Ids and the named columns, sorted by id."""
    schema = pa.schema([store.schema().field(name) for name in ("id", *columns)])
    batches = [batch.cast(schema) for batch in store.scan(["id", *columns])]
    return pa.Table.from_batches(batches, schema).sort_by("id")


def vectors_in(store, column):
    return arrow_to_vectors(read(store, column)[column])


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_search_gives_the_ids_and_scores_of_an_exact_reference(address, metric):
    store, queries = make(address), vectors_of(4, seed=1)
    expected = reference(queries, vectors_of(23), metric)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :6]
    hits = store.search("v1", queries, 6, metric)
    assert hits.ids.tolist() == [[f"r{row:03d}" for row in rows] for rows in order]
    np.testing.assert_allclose(hits.scores, np.take_along_axis(expected, order, 1), rtol=1e-4, atol=1e-4)


def test_search_of_fewer_rows_than_k_gives_all(address):
    hits = make(address, rows=3).search("v1", vectors_of(2, seed=1), 10, "dot")
    assert hits.ids.shape == hits.scores.shape == (2, 3)
    with pytest.raises(UnknownName, match="hamming"):
        open_store(address).search("v1", vectors_of(1), 1, "hamming")


def test_rows_are_read_as_they_were_written(address):
    store = make(address)
    store.append(table_of(vectors_of(4, seed=2), start=23))
    batches = list(store.scan(["id"], batch_rows=6))
    assert max(map(len, batches)) <= 6
    ids = list(itertools.chain(*(batch["id"].to_pylist() for batch in batches)))
    assert sorted(ids) == [f"r{row:03d}" for row in range(27)]
    assert ids == list(itertools.chain(*(batch["id"].to_pylist() for batch in store.scan(["id"], batch_rows=6))))
    assert store.count() == 27
    assert store.schema().field("v1").type == pa.list_(pa.float32(), DIM)
    np.testing.assert_array_equal(vectors_in(store, "v1"), np.concatenate([vectors_of(23), vectors_of(4, seed=2)]))
    assert read(store, "note")["note"].to_pylist() == list(range(27))


def test_fetch_gives_the_rows_with_the_ids(address):
    found = make(address).fetch(pa.array(["r021", "r003", "nobody"]), ["note"]).sort_by("id")
    assert found.select(["id", "note"]).to_pydict() == {"id": ["r003", "r021"], "note": [3, 21]}


def test_metadata_is_replaced_as_a_whole_and_not_over_the_head_of_another_writer(address):
    first = make(address)
    second = open_store(address)
    assert first.read_metadata() == second.read_metadata() == '{"first": 1}'
    first.write_metadata('{"second": 2}')
    with pytest.raises(GalleryError, match="run again"):
        second.write_metadata('{"third": 3}')
    assert second.read_metadata() == open_store(address).read_metadata() == '{"second": 2}'


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused_before_anything_is_written(address, value):
    store, wrong = make(address), vectors_of(4)
    wrong[2, 1] = value
    for change in (store.append, store.replace):
        with pytest.raises(VectorError, match="1 of 4 vectors are not finite"):
            change(table_of(wrong, start=21))
    assert store.count() == 23
    np.testing.assert_array_equal(vectors_in(store, "v1"), vectors_of(23))


def test_create_leaves_nothing_behind_when_a_batch_is_refused(address):
    kind, place = store_of(address)
    wrong = vectors_of(4)
    wrong[0, 0] = np.nan
    for tables, error, message in [
        ([table_of(vectors_of(3)), table_of(wrong, 3)], VectorError, "not finite"),
        ([table_of(vectors_of(2)), table_of(vectors_of(2), 2).drop(["note"])], GalleryError, "a batch has columns"),
        ([], GalleryError, "nothing to store"),
    ]:
        with pytest.raises(error, match=message):
            kind.create(place, tables, "{}", unit_rows=10)
        with pytest.raises(GalleryError):
            kind.open(place)
    assert make(address).count() == 23
    with pytest.raises(GalleryError, match="exists"):
        make(address)


def stage_all(store, dim=3, only=None):
    """New vectors are the first columns of the old ones; the ledger is kept as staging does."""
    store.begin_stage("v2", dim, "cosine")
    ledger = store.ledger("v2")
    for unit in store.pending("v2", ["v1"], ledger.entries(), only_missing=False)[:only]:
        ledger.record(stage_one(store, unit, dim))
    store.commit_staged("v2", ledger.entries())
    return ledger


def shortened(column, dim):
    kept = vectors_to_arrow(np.ascontiguousarray(arrow_to_vectors(pc.drop_null(column))[:, :dim]))
    places = np.where(column.is_valid(), np.cumsum(column.is_valid()) - 1, 0)
    return kept.take(pa.array(places, mask=~np.array(column.is_valid())))


def stage_one(store, unit, dim=3):
    """Stage one unit and give its ledger entry, with the checksums that staging takes."""
    old, new, blocks = hashlib.sha256(), hashlib.sha256(), []
    for batch in store.read_unit(unit, ["v1"]):
        blocks.append(shortened(batch["v1"], dim))
        for digest, column in ((old, batch["v1"]), (new, blocks[-1])):
            digest.update(arrow_to_vectors(pc.drop_null(column)).tobytes())
    receipt = store.stage_unit(unit, "v2", iter(blocks))
    sums = {"sha256": new.hexdigest(), "source_sha256": old.hexdigest()}
    return Entry(unit=unit.key, rows=unit.rows, receipt=receipt, **sums)


def pending_rows(store):
    return sum(unit.rows for unit in store.pending("v2", ["v1"], store.ledger("v2").entries(), only_missing=False))


def test_a_staged_column_holds_the_vectors_and_leaves_the_rest_alone(address):
    store = make(address)
    before = read(store, "note", "v1")
    stage_all(store)
    again = open_store(address)
    np.testing.assert_array_equal(vectors_in(again, "v2"), vectors_of(23)[:, :3])
    assert read(again, "note", "v1").equals(before)
    assert again.schema().field("v2").type == pa.list_(pa.float32(), 3)
    assert sum(unit.rows for unit in again.units("v2")) == 23
    assert (again.count_missing(["v1"], ["v2"]), again.count_missing(["v2"], []), pending_rows(again)) == (0, 23, 0)
    again.drop_column("v2")
    again.drop_column("v2")
    assert sorted(again.schema().names) == ["id", "note", "v1"]
    assert again.ledger("v2").entries() == {}
    assert read(again, "note", "v1").equals(before)


def test_staging_goes_on_in_another_process_where_the_ledger_ends(address):
    stage_all(make(address), only=1)
    store = open_store(address)
    assert 0 < pending_rows(store) < 23
    stage_all(store)
    np.testing.assert_array_equal(vectors_in(store, "v2"), vectors_of(23)[:, :3])


def test_staging_the_same_unit_twice_is_the_same_as_once(address):
    store = make(address)
    for unit in (stage_all(store), store.units("v2"))[1]:
        store.ledger("v2").record(stage_one(store, unit))
    store.commit_staged("v2", store.ledger("v2").entries())
    np.testing.assert_array_equal(vectors_in(store, "v2"), vectors_of(23)[:, :3])


def test_a_unit_takes_one_vector_or_null_per_row(address):
    store = make(address)
    store.begin_stage("v2", 3, "cosine")
    unit = store.units("v2")[0]
    for rows in (unit.rows - 1, unit.rows + 1):
        with pytest.raises(GalleryError, match="one vector per row"):
            store.stage_unit(unit, "v2", iter([vectors_to_arrow(np.ones((rows, 3), np.float32))]))


def test_no_column_is_removed_to_make_room_for_another(address):
    store = make(address)
    stage_all(store)
    with pytest.raises(GalleryError, match=r"'v2' of .* is there already"):
        store.begin_stage("v2", 4, "cosine")
    np.testing.assert_array_equal(vectors_in(store, "v2"), vectors_of(23)[:, :3])


def test_a_column_with_the_only_vector_of_a_row_is_not_dropped(address):
    store = make(address)
    stage_all(store)
    store.append(table_of(vectors_of(2, seed=5), start=23))
    with pytest.raises(GalleryError, match=r"2 rows of .* have a vector only in 'v1'"):
        store.drop_column("v1", ["v2"])
    assert store.count_missing(["v1"], []) == 25
    store.drop_column("v2", ["v1"])
    assert "v2" not in store.schema().names


def test_rows_added_changed_and_deleted_after_staging_are_found(address):
    store = make(address)
    stage_all(store)
    store.append(table_of(vectors_of(2, seed=5), start=23))
    assert pending_rows(store) > 0
    with pytest.raises(GalleryError, match="run again"):
        publish(store)
    stage_all(store)
    assert pending_rows(store) == 0
    changed = vectors_of(1, seed=6)
    store.replace(table_of(changed, start=4))
    assert pending_rows(store) > 0
    with pytest.raises(GalleryError, match="run again"):
        publish(store)
    assert store.delete(pa.array(["r010", "r022", "nobody"])) == 2
    stage_all(store)
    expected = np.delete(np.concatenate([vectors_of(23), vectors_of(2, seed=5)]), [10, 22], axis=0)
    expected[4] = changed
    np.testing.assert_array_equal(vectors_in(store, "v1"), expected)
    np.testing.assert_array_equal(vectors_in(store, "v2"), expected[:, :3])
    publish(store)
    assert open_store(address).read_metadata() == '{"second": 2}'


def publish(store):
    store.read_metadata()
    store.publish('{"second": 2}', "v2", ["v1"])


def test_rows_without_a_vector_are_counted_and_not_found(address):
    store = make(address)
    stage_all(store)
    later = table_of(vectors_of(2, seed=5), start=23).rename_columns(["id", "note", "v1"])
    new_space = later.drop(["v1"]).append_column("v2", vectors_to_arrow(vectors_of(2, seed=5)[:, :3].copy()))
    store.append(new_space)
    assert store.count_missing(["v2"], ["v1"]) == 2
    assert store.count_missing(["v1"], []) == 23
    assert store.count_missing([], ["v1"]) == 2
    assert pending_rows(store) == 0
    assert read(store, "v1")["v1"].null_count == 2
    assert store.search("v1", vectors_of(1), 100, "dot").ids.shape == (1, 23)
    assert store.search("v2", vectors_of(1)[:, :3], 100, "dot").ids.shape == (1, 25)


def test_a_row_is_replaced_as_a_whole(address):
    store = make(address)
    stage_all(store)
    store.replace(table_of(vectors_of(2, seed=7), start=22))
    assert store.count() == 24
    found = read(store, "note", "v1", "v2")
    np.testing.assert_array_equal(arrow_to_vectors(found["v1"])[22:], vectors_of(2, seed=7))
    assert found["v2"].slice(22).null_count == 2
    assert found["v2"].null_count == 2


def test_an_index_finds_nearly_the_same_and_is_built_with_progress(address):
    kind, place = store_of(address)
    many = normalised(np.random.default_rng(3).normal(size=(2000, 8)).astype(np.float32))
    store = kind.create(place, [table_of(many)], "{}", unit_rows=600)
    told = []
    assert store.build_index("v1", "cosine", lambda *call: told.append(call))
    assert told == sorted(told)
    assert all(0 <= done <= total == told[-1][1] for done, total in told)
    assert told[-1][0] == told[-1][1] > 0
    exact, near = (store.search("v1", many[:20], 5, "cosine", exact=how) for how in (True, False))
    assert near.ids.shape == (20, 5)
    assert (exact.ids[:, 0] == near.ids[:, 0]).mean() > 0.9
    np.testing.assert_allclose(near.scores[:, 0], 1, atol=1e-3)


def test_an_index_of_more_rows_takes_longer_and_more_than_in_proportion(address):
    store = make(address)
    for rows in (10, 1_000, 10**6, 10**9):
        assert store.index_work(2 * rows) > 2 * store.index_work(rows) > 0
    assert store.index_work(2 * 10**9) < 3 * store.index_work(10**9)


def normalised(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_one_process_at_a_time_holds_the_lock(address):
    store, other = make(address), open_store(address)
    refused = pytest.raises(GalleryError, match=r"is being worked on by .*first")
    with store.locked("first"), refused, other.locked("second"):
        pass
    with other.locked("second"):
        pass


def test_a_plain_table_needs_no_advice(address):
    assert make(address).advice() == []


def test_the_room_a_column_takes_is_known(address):
    needed, free = make(address).bytes_needed(100)
    assert needed >= 23 * 100 * 4
    assert free is None or free > 0


def test_reclaiming_keeps_every_row(address):
    store = make(address)
    stage_all(store)
    store.delete(pa.array(["r001"]))
    store.drop_column("v1")
    assert isinstance(store.reclaim(), list)
    again = open_store(address)
    np.testing.assert_array_equal(vectors_in(again, "v2"), np.delete(vectors_of(23)[:, :3], 1, axis=0))
    assert read(again, "note")["note"].to_pylist() == [row for row in range(23) if row != 1]


def test_an_address_without_a_gallery_is_refused(address):
    with pytest.raises(GalleryError, match="is not a gallery") as caught:
        open_store(address)
    assert "\n" not in str(caught.value)


def test_an_address_names_its_store():
    assert store_of("s3://bucket/some") == (STORES["lance"], "s3://bucket/some")
    assert store_of("lance://some/folder") == (STORES["lance"], "some/folder")
    with pytest.raises(SettingsError, match="needs two slashes") as caught:
        store_of("postgresql:/me:secret@host/db")
    assert "secret" not in str(caught.value)
    with pytest.raises(UnknownName, match="'lanse': did you mean 'lance'"):
        open_store("lanse://x")


def test_a_trial_beside_the_gallery_leaves_it_as_it_is(address):
    store = make(address)
    if address.startswith("qdrant:///"):
        with pytest.raises(GalleryError, match="no room for a trial"):
            store.spare()
        return
    trial = make(store.spare(), rows=12)
    assert (trial.count(), store.count()) == (12, 23)
    place = store.spare()
    assert place != store.spare()
    trial.begin_stage("v2", 3, "cosine")
    trial.destroy()
    assert store.read_metadata() == '{"first": 1}'
    assert len(read(store, "v1")) == 23
    kind, again = store_of(trial.place)
    with pytest.raises(GalleryError):
        kind.open(again)
