import json
import threading
from pathlib import Path

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest

from bict.embeddings import Embeddings
from bict.errors import GalleryError, SettingsError, SpaceError, UnknownName, VectorError
from bict.gallery import Gallery, stage
from bict.spaces import Space


def test_what_was_stored_is_read_back(gallery, embeddings):
    again = Gallery.open(gallery.address)
    found, stored = again.vectors(), embeddings()
    assert len(again) == 25
    assert found.ids.tolist() == stored.ids.tolist()
    assert found.labels.tolist() == stored.labels.tolist()
    assert found.vectors.tobytes() == stored.vectors.tobytes()
    assert found.space == again.active_space == again.spaces["v1"] == stored.space
    assert again.vectors(with_labels=False).labels is None
    assert again.payload_columns == ["path", "shop", "tags", "price", "label"]


def test_lancedb_opens_the_table(gallery):
    table = lancedb.connect(gallery.address).open_table("vectors")
    assert table.count_rows() == 25
    assert table.schema.field("v1").type == pa.list_(pa.float32(), 4)
    assert b"bict.gallery" in table.schema.metadata


def test_a_stream_of_batches_gives_the_same_gallery(tmp_path, embeddings):
    whole = embeddings(20)
    batches = [(whole.take(np.arange(start, start + 5)), pa.table({"n": range(5)})) for start in (0, 5, 10, 15)]
    streamed = Gallery.create(tmp_path / "streamed", iter(batches))
    assert streamed.vectors().ids.tolist() == whole.ids.tolist()
    assert streamed.vectors().vectors.tobytes() == whole.vectors.tobytes()


def test_create_refuses_and_leaves_nothing_behind(tmp_path, embeddings, gallery):
    other = Space(name="other", fingerprint="c" * 16, dim=4)
    for batches, error, message in [
        ([(embeddings(5), None), (embeddings(5, start=4), None)], VectorError, "more than once.*'image-4'"),
        ([(embeddings(5), None), (embeddings(5, other, start=5), None)], SpaceError, "a batch for a gallery"),
        ([], GalleryError, "nothing to store"),
    ]:
        with pytest.raises(error, match=message):
            Gallery.create(tmp_path / "new", batches)
        with pytest.raises(GalleryError, match="is not a gallery"):
            Gallery.open(tmp_path / "new")
    with pytest.raises(GalleryError, match="not an empty folder"):
        Gallery.create(gallery.address, embeddings())
    assert len(Gallery.create(tmp_path / "new", embeddings())) == 25


def test_open_refuses_what_is_no_gallery_or_a_newer_one(tmp_path, gallery):
    (tmp_path / "photos").mkdir()
    for address in (tmp_path / "photos", tmp_path / "nowhere"):
        with pytest.raises(GalleryError, match="is not a gallery") as caught:
            Gallery.open(address)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "hollow/vectors.lance").mkdir(parents=True)
    with pytest.raises(GalleryError, match="is not a gallery"):
        Gallery.open(tmp_path / "hollow")
    lance.write_dataset(pa.table({"x": [1]}), str(tmp_path / "foreign/vectors.lance"))
    with pytest.raises(
        GalleryError, match=r"without 'bict.gallery' metadata: make it a gallery with bict gallery adopt"
    ):
        Gallery.open(tmp_path / "foreign")
    newer = json.loads(gallery.metadata.model_dump_json()) | {"format": 7}
    gallery.store.write_metadata(json.dumps(newer))
    with pytest.raises(GalleryError, match="format 7, this bict reads 1"):
        Gallery.open(gallery.address)


def test_add_appends_rows_of_the_active_space_only(gallery, embeddings, payload):
    gallery.add(embeddings(5, start=25), payload(5).select(["price", "shop", "tags", "path"]))
    assert gallery.vectors().ids.tolist() == [f"image-{row}" for row in range(30)]
    other = Space(name="same dimension", fingerprint="c" * 16, dim=4)
    for rows, error, message in [
        (embeddings(5, other, start=30), SpaceError, "expected old"),
        (embeddings(5, start=29), VectorError, "'image-29' is in"),
        (Embeddings(np.arange(5), embeddings(5).vectors, gallery.active_space, np.arange(5)), GalleryError, "int64"),
    ]:
        with pytest.raises(error, match=message):
            gallery.add(rows, payload(5))
    with pytest.raises(GalleryError, match="expected"):
        gallery.add(embeddings(5, start=30))
    assert len(gallery) == 30


def test_vectors_that_cannot_lie_in_the_space_are_refused_before_the_gallery(gallery, embeddings, payload):
    good = embeddings(5, start=25)
    for value, message in [(np.nan, "not finite"), (np.inf, "not finite"), (0, "all zero")]:
        with pytest.raises(VectorError, match=message):
            gallery.add(Embeddings(good.ids, good.vectors * np.float32(value), good.space, good.labels), payload(5))
    with pytest.raises(VectorError, match=r"\(rows, 4\)"):
        gallery.add(Embeddings(good.ids, good.vectors[:, :3], good.space, good.labels), payload(5))
    assert len(gallery) == 25


def test_rows_may_be_added_while_a_column_is_staged(gallery, embeddings, payload, linear):
    stage(gallery, linear())
    gallery.add(embeddings(5, start=25), payload(5))
    assert len(gallery.vectors()) == 30
    with pytest.raises(VectorError, match="5 of 30 vectors are null"):
        gallery.vectors("v2")


def test_a_row_is_replaced_with_its_payload(gallery, embeddings, payload):
    changed = embeddings(5, start=22)
    gallery.add(changed, payload(5), replace=True)
    assert len(gallery) == 27
    found = gallery.vectors()
    order = np.argsort([int(name.split("-")[1]) for name in found.ids])
    np.testing.assert_array_equal(found.vectors[order][22:], changed.vectors)
    assert gallery.search(changed.take(np.array([0])), k=1, include=["path"]).payload["path"].item() == "/photos/0.jpg"


def test_erased_rows_are_in_no_file(gallery, embeddings, linear):
    stage(gallery, linear())
    erased = [gallery.vectors(column).vectors[3].tobytes() for column in ("v1", "v2")]
    assert all(holding(gallery, vector) for vector in erased)
    assert gallery.delete(["image-3", "nobody"]) == 1
    assert not any(holding(gallery, vector) for vector in erased)
    assert gallery.search(embeddings().take(np.array([3])), k=1).ids[0, 0] != "image-3"
    assert gallery.delete(["image-3"]) == 0
    with pytest.raises(GalleryError, match="expected string"):
        gallery.delete([3])


def holding(gallery, vector):
    return [path for path in Path(gallery.address).rglob("*") if path.is_file() and vector in path.read_bytes()]


@pytest.mark.parametrize(("metric", "normalised"), [("cosine", True), ("cosine", False), ("dot", False), ("l2", False)])
def test_search_agrees_with_numpy(tmp_path, metric, normalised):
    space = Space(name="any", fingerprint="d" * 16, dim=3, metric=metric, normalised=normalised)
    random = np.random.default_rng(0)
    vectors, queries = (random.normal(size=(rows, 3)).astype(np.float32) for rows in (30, 4))
    if normalised:
        vectors, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, queries))
    gallery = Gallery.create(tmp_path / "g", Embeddings(np.arange(100, 130), vectors, space), unit_rows=7)
    norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    expected = {
        "cosine": queries @ vectors.T / norms,
        "dot": queries @ vectors.T,
        "l2": -((queries[:, None] - vectors[None]) ** 2).sum(2),
    }[metric]
    result = gallery.search(Embeddings(np.arange(4), queries, space), k=5)
    order = np.argsort(-expected, axis=1)[:, :5]
    assert (result.ids == order + 100).all()
    np.testing.assert_allclose(result.similarities, np.take_along_axis(expected, order, 1), rtol=1e-5, atol=1e-5)
    assert result.comparison == "same space"


def test_search_brings_the_payload_of_its_hits(gallery, embeddings, payload):
    stored = embeddings()
    result = gallery.search(stored.take(np.array([6, 2])), k=3, include=["path", "label", "tags"])
    assert result.ids[:, 0].tolist() == ["image-6", "image-2"]
    rows = [[int(name.split("-")[1]) for name in names] for names in result.ids]
    assert result.payload["path"].tolist() == [[f"/photos/{row}.jpg" for row in some] for some in rows]
    assert result.payload["label"].tolist() == [[stored.labels[row] for row in some] for some in rows]
    assert result.payload["tags"][0, 0].tolist() == [6, 7]


def test_search_obeys_the_spaces(tmp_path, gallery, embeddings):
    old = gallery.active_space
    newer = Space(name="newer", fingerprint="e" * 16, dim=4, backward_compatible_with=(old.fingerprint,))
    stranger = newer.model_copy(update={"backward_compatible_with": ()})
    assert gallery.search(embeddings(2, newer)).comparison == "backward compatible"
    with pytest.raises(SpaceError, match="cannot be compared"):
        gallery.search(embeddings(2, stranger))


def test_search_refuses_values_that_make_no_sense(gallery, embeddings):
    with pytest.raises(SettingsError, match="k=0"):
        gallery.search(embeddings(2), k=0)
    with pytest.raises(UnknownName, match="did you mean 'path'"):
        gallery.search(embeddings(2), include=["pth"])
    with pytest.raises(UnknownName, match="vector column 'v5'"):
        gallery.vectors("v5")


def test_a_gallery_whose_first_writing_was_killed_is_named(tmp_path):
    data = tmp_path / "gallery" / "vectors.lance" / "data"
    data.mkdir(parents=True)
    (data / "part.lance").write_bytes(b"half")
    with pytest.raises(GalleryError, match=r"first writing was cut off.*delete it"):
        Gallery.open(tmp_path / "gallery")


def test_a_hit_that_was_deleted_meanwhile_has_no_payload(gallery, embeddings, monkeypatch):
    search = gallery.store.search

    def deleting(*arguments, **options):
        hits = search(*arguments, **options)
        Gallery.open(gallery.address).delete(["image-6"])
        return hits

    monkeypatch.setattr(gallery.store, "search", deleting)
    result = gallery.search(embeddings().take(np.array([6])), k=2, include=["path"])
    assert result.ids[0, 0] == "image-6"
    assert result.payload["path"][0, 0] is None
    assert result.payload["path"][0, 1].startswith("/photos/")


def test_two_writers_of_one_id_take_turns(gallery, embeddings, payload):
    other = Gallery.open(gallery.address)
    outcomes = []

    def add(writer):
        try:
            writer.add(embeddings(5, start=25), payload(5))
            outcomes.append("added")
        except VectorError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=add, args=(writer,)) for writer in (gallery, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("added") == 1
    assert any("ids must be unique" in text for text in outcomes)
    assert len(gallery) == 30


def test_ids_that_no_column_can_hold_are_refused(tmp_path, embeddings):
    rows = embeddings(5)
    numbers = Gallery.create(tmp_path / "numbers", Embeddings(np.arange(5), rows.vectors, rows.space))
    with pytest.raises(GalleryError, match="expected int64"):
        numbers.delete([10**30])
