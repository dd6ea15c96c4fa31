"""A Lance gallery in a folder: what can come in between."""

from __future__ import annotations

import os
import re
import time

import numpy as np
import pyarrow as pa
import pytest

from bict.errors import GalleryError
from bict.gallery import Gallery, stage, switch, verify
from bict.gallery.metadata import METADATA_KEY
from bict.gallery.stores import lance as lance_store


def staged_files(gallery):
    return {path.name for path in (gallery.store.reach().paths[0]).rglob("bict-staged-*")}


def interrupted(gallery, transform):
    """A staging that was cut off after its first unit."""
    told = []

    def stop(done, _total):
        told.append(done)
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(gallery, transform, progress=stop)


def test_nothing_staged_is_swept_away_while_a_ledger_cannot_be_read(gallery, linear, monkeypatch):
    interrupted(gallery, linear())
    before = staged_files(gallery)
    assert before

    def fails(_self):
        raise GalleryError("no answer")

    ledger = type(gallery.store.ledger("v2"))
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "entries", fails)
        gallery.store.begin_stage("v2", 6, "cosine")
    assert staged_files(gallery) == before
    assert stage(gallery, linear()).units_skipped == 1


def test_unfinished_files_of_a_kill_go_after_a_day_and_are_told_of_before(gallery):
    table = gallery.store.reach().paths[0] / "vectors.lance"
    places = [table / "data", table / "_indices" / "0123"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        for name, hours in ((".tmpOld", 25), (".tmpNew", 1)):
            (place / name).write_bytes(b"a vector")
            written = time.time() - 3600 * hours
            os.utime(place / name, (written, written))
    (told,) = gallery.store.reclaim()
    assert re.search(r"^2 unfinished files of .*, the first is .*/data/\.tmpNew$", told)
    for place in places:
        assert [path.name for path in place.glob(".tmp*")] == [".tmpNew"]
        (place / ".tmpNew").unlink()
    assert gallery.store.reclaim() == []


@pytest.mark.parametrize("first", [0, 5])
def test_a_second_creation_of_the_same_gallery_leaves_the_first_alone(tmp_path, embeddings, first):
    def late():
        if first:
            yield embeddings(first), None
        Gallery.create(tmp_path / "g", embeddings(7, start=100))
        yield embeddings(5, start=5), None

    with pytest.raises(GalleryError, match="exists and is not an empty folder"):
        Gallery.create(tmp_path / "g", late())
    if not first:
        assert len(Gallery.open(tmp_path / "g")) == 7


def test_a_creation_that_failed_can_be_given_again(tmp_path, embeddings):
    def cut_off():
        yield embeddings(5), None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Gallery.create(tmp_path / "g", cut_off())
    Gallery.create(tmp_path / "g", embeddings(5))
    assert len(Gallery.open(tmp_path / "g")) == 5


def test_a_switch_that_comes_between_a_deletions_steps_stays(gallery, linear, monkeypatch):
    stage(gallery, linear())
    assert verify(gallery, linear()).passed
    other, commit = Gallery.open(gallery.address), lance_store.commit_merge

    def late(data, fragments):
        if other.active_column == "v1":
            switch(other)
        commit(data, fragments)

    monkeypatch.setattr(lance_store, "commit_merge", late)
    gallery.store.delete(pa.array(["image-3"]))
    assert gallery.active_column == "v2"
    assert METADATA_KEY in gallery.store._data.schema_metadata
    assert len(gallery) == 24
    found = next(iter(gallery.store.scan(["v2"], 24)))["v2"]
    assert np.isfinite(found.flatten().to_numpy()).all()
