import pickle
from pathlib import Path

import pytest

from bict.errors import GalleryError, PrivacyError
from bict.gallery import Gallery, stage, within_boundary
from bict.gallery.carrying import Route
from bict.gallery.pace import Pace
from bict.gallery.privacy import note_elsewhere
from bict.gallery.stores import Unit
from bict.gallery.unit_work import UnitWork


@pytest.fixture
def work(gallery, linear):
    """The work of a column of which nothing is staged yet."""
    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=_interrupt)
    column, source = gallery.metadata.columns["v2"], gallery.metadata.columns["v1"]
    return UnitWork(gallery, (Route(source, linear()),), column, lambda _unit, _rows: None, Pace())


def _interrupt(done, total):
    raise KeyboardInterrupt


def opening(path):
    """What a transform does that tries to leave the boundary, and hides it."""

    def before(_rows):
        try:
            path.read_bytes()
        except PrivacyError:
            return

    return before


def test_elsewhere_it_gives_the_same_entry_and_says_what_was_opened(work, gallery, monkeypatch, linear):
    monkeypatch.setattr(linear, "__reduce__", lambda self: (linear, ()))
    unit = gallery.store.units("v2")[1]
    here, there = work(unit), pickle.loads(pickle.dumps(work))(unit)  # noqa: S301
    assert there.entry.model_copy(update={"receipt": here.entry.receipt}) == here.entry
    assert there.entry.receipt != here.entry.receipt
    assert (here.opened, here.refused, there.refused) == ((), (), ())
    assert all(Path(path).is_relative_to(Path(gallery.address).resolve()) for path in there.opened)


def test_elsewhere_it_stays_within_a_boundary_that_counts_here(work, gallery, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    spy = Route(work.routes[0].source, type(work.routes[0].transform)(before=opening(tmp_path / "photo.jpg")))
    kind, arguments = UnitWork(gallery, (spy,), work.column, work.progress, Pace()).__reduce__()
    staged = kind(*arguments)(gallery.store.units("v2")[0])
    assert staged.refused == (f"file {tmp_path.resolve()}/photo.jpg",)
    with within_boundary(tmp_path) as log:
        note_elsewhere(("/a", "/a"), staged.refused)
        note_elsewhere(("/a", "/b"), ())
    assert (sorted(set(log.opened)), log.refused) == (["/a", "/b"], list(staged.refused))


def test_elsewhere_it_finds_what_was_committed_after_it_opened_the_gallery(work, gallery, embeddings, payload):
    kind, arguments = work.__reduce__()
    elsewhere = kind(*arguments)
    assert elsewhere(gallery.store.units("v2")[0]).entry.rows == 10
    gallery.add(embeddings(5, start=25), payload(5))
    assert elsewhere(gallery.store.units("v2")[3]).entry.rows == 5
    gone = elsewhere(Unit("77-0123456789abcdef", 5))
    assert gone.entry is None
    assert "unit 77-0123456789abcdef" in gone.reason


def test_a_unit_that_cannot_be_read_is_named_when_the_others_are_staged(gallery, linear):
    (victim, *_) = sorted(Path(gallery.address, "vectors.lance/data").iterdir())
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    with pytest.raises(GalleryError, match=r"unit \d-[0-9a-f]{16} \(\d+ rows\) of .* cannot be read .* from a backup"):
        stage(gallery, linear())
    assert len(gallery.store.ledger("v2").entries()) == 2
    victim.write_bytes(content)
    assert stage(Gallery.open(gallery.address), linear()).units_skipped == 2
