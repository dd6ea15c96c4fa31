"""A Lance gallery in an object storage: what differs from a folder on a disk."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from bict.errors import GalleryError, MissingGallery
from bict.gallery import Gallery
from bict.gallery.ledger import Entry
from bict.gallery.stores import lance_bucket
from bict.gallery.stores.lance_bucket import BucketFolder, BucketLedger


def entry(unit, receipt="file"):
    return Entry(unit=unit, rows=1, sha256="a" * 64, source_sha256="b" * 64, receipt=receipt)


def test_a_ledger_of_several_objects_keeps_the_newest_entry_of_each_unit(bucket, monkeypatch):
    monkeypatch.setattr(lance_bucket, "SEGMENT", 3)
    folder = BucketFolder(bucket)
    first, second = BucketLedger(folder), BucketLedger(folder)
    for number in range(7):
        first.record(entry(f"u{number}"))
    second.record(entry("u1", "newer"))
    assert len(folder.files()) == 4
    found = BucketLedger(folder).entries()
    assert sorted(found) == [f"u{number}" for number in range(7)]
    assert [found["u1"].receipt, found["u2"].receipt] == ["newer", "file"]


def test_files_are_put_listed_and_removed(bucket):
    folder = BucketFolder(bucket)
    assert (folder.read("x"), folder.files(), folder.folders()) == (None, set(), set())
    folder.write("x", b"1")
    folder.write("x", b"2")
    (folder / "below").write("y", b"3")
    assert (folder.read("x"), folder.files(), folder.files("y"), folder.folders()) == (b"2", {"x"}, set(), {"below"})
    folder.remove(["x", "nothing"])
    folder.remove_all()
    folder.remove_all()
    assert (folder.files(), folder.folders()) == (set(), set())


def test_a_lease_is_refused_with_its_holder_until_that_has_been_silent(bucket):
    folder = BucketFolder(bucket)
    with folder.locked("upgrade", bucket):
        held = json.loads(folder.read("lease.json"))
        with pytest.raises(GalleryError, match=r"is being worked on by .*: upgrade; see"), folder.locked("run", bucket):
            pass
        assert json.loads(folder.read("lease.json")) == held
    with folder.locked("run", bucket):
        pass
    folder.write("lease.json", json.dumps({**held, "beat": time.time() - 91}).encode())
    with folder.locked("run", bucket):
        pass


def test_missing_credentials_are_one_line_that_says_how_they_are_given(bucket, gallery, embeddings, monkeypatch):
    Gallery.create(bucket, embeddings())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    lance_bucket.storage.cache_clear()
    with pytest.raises(GalleryError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile") as refused:
        Gallery.open(bucket)
    assert "\n" not in str(refused.value)


def test_a_storage_that_does_not_answer_and_a_place_without_a_gallery_are_named(bucket, monkeypatch):
    with pytest.raises(MissingGallery, match=r"found no vectors\.lance"):
        Gallery.open(bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    lance_bucket.storage.cache_clear()
    with pytest.raises(GalleryError, match=f"^{bucket} cannot be used: .*onnect"):
        Gallery.open(bucket)


def test_a_holder_that_slept_through_its_lease_writes_nothing_more(bucket):
    folder = BucketFolder(bucket)
    ledger = (folder / "v2").ledger()
    with folder.locked("upgrade", bucket):
        ledger.record(entry("u1"))
        held, taken = json.loads(folder.read("lease.json")), {"token": uuid.uuid4().hex}
        folder.write("lease.json", json.dumps(held | taken).encode())
        with pytest.raises(GalleryError, match="taken over by another process while this one was silent"):
            ledger.record(entry("u2"))
    assert set((folder / "v2").ledger().entries()) == {"u1"}
    assert json.loads(folder.read("lease.json")).items() >= taken.items()


@pytest.mark.parametrize("prefix", ["a#1", "a%20b", "a//b", "../b"])
def test_a_prefix_that_urls_read_differently_is_refused(prefix):
    with pytest.raises(GalleryError, match="which storages and URLs read differently"):
        Gallery.open(f"s3://bucket/{prefix}")


def test_a_path_that_speaks_of_credentials_is_no_refusal_of_them():
    told = OSError("/data/credentials/gallery: not found")
    assert not lance_bucket.lacks_credentials("/data/credentials/gallery", told)
    assert not lance_bucket.lacks_credentials("s3://credentials/g", OSError("credentials/g: not found"))
    assert lance_bucket.lacks_credentials("s3://b/g", OSError("no Credential found"))
