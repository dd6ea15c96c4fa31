from pathlib import Path

import lance
import numpy as np
import pytest

from bict.embeddings import Embeddings, normalise
from bict.errors import GalleryError
from bict.gallery import Gallery, build_index, finalize, rollback, stage, upgrade, verify
from bict.gallery.rows import to_rows
from bict.gallery.stores.lance_index import indexes_of
from bict.spaces import Space

THIRD = Space(name="third", fingerprint="c" * 16, dim=3)


@pytest.fixture
def chained(gallery, linear):
    upgrade(gallery, linear())
    upgrade(gallery, linear(source=linear().target, target=THIRD))
    return gallery


def holding(gallery, vector):
    return [path for path in Path(gallery.address).rglob("*") if path.is_file() and vector in path.read_bytes()]


def test_intermediate_generations_go_first_and_the_base_stays(chained):
    middle, base = (chained.vectors(column).vectors[7].tobytes() for column in ("v2", "v1"))
    assert holding(chained, middle)
    done = finalize(chained)
    assert (done.dropped, done.kept, done.bytes_kept, done.copies) == (("v2",), ("v1",), 25 * 4 * 4, ())
    assert not holding(chained, middle)
    assert holding(chained, base)
    assert rollback(chained) == "v1"


def test_the_base_goes_when_asked_and_everything_else_stays(chained, embeddings, payload):
    live, base = chained.vectors(), chained.vectors("v1").vectors[7].tobytes()
    done = finalize(chained, drop_base=True)
    assert (done.dropped, done.kept) == (("v2", "v1"), ())
    again = Gallery.open(chained.address)
    assert not holding(again, base)
    assert again.vectors().vectors.tobytes() == live.vectors.tobytes()
    assert again.vectors().ids.tolist() == live.ids.tolist()
    result = again.search(live.take([4]), k=1, include=["path", "tags", "shop", "price"])
    row = payload().slice(4, 1).to_pylist()[0]
    assert {name: values.item() for name, values in result.payload.items() if name != "tags"} == {
        name: value for name, value in row.items() if name != "tags"
    }
    assert result.payload["tags"][0, 0].tolist() == row["tags"]
    with pytest.raises(GalleryError, match="keeps no column from before"):
        rollback(again)
    assert again.metadata.columns["v1"].state == "dropped"


def test_finalizing_twice_and_with_nothing_to_do_changes_nothing(gallery):
    assert finalize(gallery).dropped == ()
    assert len(gallery.vectors()) == 25


def test_a_staged_column_and_rows_that_would_be_lost_stop_it(gallery, linear, embeddings, payload):
    stage(gallery, linear())
    with pytest.raises(GalleryError, match=r"'v2' .* is staged: switch to it or discard it"):
        finalize(gallery)
    upgrade(gallery, linear())
    rows = gallery.store.fetch(gallery_ids(gallery), ["path", "shop", "tags", "price", "label", "v1"]).slice(0, 1)
    gallery.store.append(rows.set_column(0, "id", [["late"]]))
    with pytest.raises(GalleryError, match=r"1 rows of .* have a vector only in 'v1': switch to it, or upgrade them"):
        finalize(gallery, drop_base=True)
    assert len(gallery.vectors("v1")) == 26
    upgrade(gallery, linear())
    assert finalize(gallery, drop_base=True).dropped == ("v1",)
    assert len(gallery.vectors()) == 26


def gallery_ids(gallery):
    return next(iter(gallery.store.scan(["id"])))["id"]


def test_a_finalize_that_was_killed_is_finished_by_the_next(chained, monkeypatch):
    def killed(column, kept):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chained.store, "drop_column", killed)
        with pytest.raises(KeyboardInterrupt):
            finalize(chained)
    assert "v2" in chained.store.schema().names
    finalize(Gallery.open(chained.address))
    assert "v2" not in chained.store.schema().names


def test_erased_rows_do_not_come_back_after_a_rollback_or_a_resumed_run(gallery, linear):
    upgrade(gallery, linear())
    erased = [gallery.vectors(column).vectors[7].tobytes() for column in ("v1", "v2")]
    assert gallery.delete(["image-7"]) == 1
    rollback(gallery)
    assert "image-7" not in gallery.vectors().ids
    stage(gallery, linear())
    upgrade(gallery, linear())
    assert "image-7" not in gallery.vectors().ids
    finalize(gallery)
    assert not any(holding(gallery, vector) for vector in erased)


def test_an_index_is_built_again_when_the_files_under_it_are(tmp_path, linear):
    space = linear().source
    rows = normalise(np.random.default_rng(0).normal(size=(1500, 4)).astype(np.float32))
    gallery = Gallery.create(tmp_path / "large", Embeddings(np.arange(1500), rows, space), unit_rows=400)
    report = upgrade(gallery, linear())
    assert report.index == "IVF_FLAT, 39 partitions"
    query = linear().apply(Embeddings(np.arange(20), rows[:20], space))
    gallery.delete([3])
    for _ in range(2):
        near, exact = (gallery.search(query, k=5, exact=how) for how in (False, True))
        assert (near.ids[:, 0] == exact.ids[:, 0]).mean() > 0.9
        assert 3 not in near.ids
        finalize(gallery, drop_base=True)
    assert indexes_of(gallery.store._refresh()) == ["v2_cosine_bict"]


def test_a_delete_that_was_killed_after_the_rows_were_gone_is_finished_by_the_next(gallery, monkeypatch):
    erased = gallery.vectors().vectors[7].tobytes()

    def killed():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gallery.store, "_rewrite", killed)
        with pytest.raises(KeyboardInterrupt):
            gallery.delete(["image-7"])
    assert holding(gallery, erased)
    assert Gallery.open(gallery.address).delete(["image-7"]) == 0
    assert not holding(gallery, erased)


def test_a_staged_file_that_no_ledger_knows_does_not_keep_an_erased_row(gallery, linear, monkeypatch):
    transform = linear()
    expected = transform.apply(gallery.vectors()).vectors[7].tobytes()

    def killed(self, entry):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bict.gallery.ledger.FileLedger.record", killed)
        with pytest.raises(KeyboardInterrupt):
            stage(gallery, transform)
    assert holding(gallery, expected)
    gallery.delete(["image-7"])
    assert not holding(gallery, expected)
    upgrade(gallery, linear())
    assert len(gallery.vectors()) == 24


def test_a_staged_file_that_vanished_is_staged_again(gallery, linear):
    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt_at(20))
    for entry in gallery.store.ledger("v2").entries().values():
        (Path(gallery.address) / "vectors.lance/data" / entry.receipt).unlink()
    stage(gallery, linear())
    assert verify(gallery, linear()).passed


def interrupt_at(rows):
    def progress(done, total):
        if done >= rows:
            raise KeyboardInterrupt

    return progress


def test_a_row_that_arrives_while_a_column_is_dropped_keeps_its_only_vector(gallery, linear, monkeypatch):
    upgrade(gallery, linear())
    late = gallery.store.fetch(gallery_ids(gallery), ["path", "shop", "tags", "price", "label", "v1"]).slice(0, 1)
    other, count = Gallery.open(gallery.address), gallery.store.count_missing

    def slow(present, absent):
        found = count(present, absent)
        if present == ["v1"] and absent == ["v2"]:
            monkeypatch.setattr(gallery.store, "count_missing", count)
            lance.write_dataset(late.set_column(0, "id", [["late"]]), str(other.store._path), mode="append")
        return found

    monkeypatch.setattr(gallery.store, "count_missing", slow)
    with pytest.raises(GalleryError, match=r"1 rows of .* have a vector only in 'v1'"):
        finalize(gallery, drop_base=True)
    assert len(gallery.vectors("v1")) == 26
    assert gallery.metadata.columns["v1"].state == "kept"


def test_rows_filled_in_under_an_index_are_found_through_it(tmp_path, linear):
    space = linear().source
    rows = normalise(np.random.default_rng(0).normal(size=(1550, 4)).astype(np.float32))
    gallery = Gallery.create(tmp_path / "large", Embeddings(np.arange(1500), rows[:1500], space), unit_rows=400)
    transform = linear()
    upgrade(gallery, transform)
    late = to_rows(Embeddings(np.arange(1500, 1550), rows[1500:], space), None, "v1")
    gallery.store.append(late)
    build_index(gallery)
    stage(gallery, linear())
    query = linear().apply(Embeddings(np.arange(50), rows[1500:], space))
    found = gallery.search(query, k=1, exact=False).ids[:, 0]
    assert (found == np.arange(1500, 1550)).mean() > 0.8


def test_erasing_below_the_size_of_an_index_removes_the_index(tmp_path, linear):
    space = linear().source
    rows = normalise(np.random.default_rng(0).normal(size=(1030, 4)).astype(np.float32))
    gallery = Gallery.create(tmp_path / "large", Embeddings(np.arange(1030), rows, space), unit_rows=400)
    upgrade(gallery, linear())
    erased = gallery.vectors().vectors[0].tobytes()
    gallery.delete(list(range(10)))
    assert not holding(gallery, erased)


def test_a_column_in_which_a_model_wrote_some_rows_is_base_too(gallery, linear, embeddings, payload):
    upgrade(gallery, linear())
    gallery.add(embeddings(5, linear().target, start=25), payload(5))
    upgrade(gallery, linear(source=linear().target, target=THIRD))
    assert finalize(gallery).dropped == ()
    assert finalize(gallery, drop_base=True).dropped == ("v1", "v2")
