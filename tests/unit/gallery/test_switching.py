from pathlib import Path

import numpy as np
import pytest

from bict.errors import GalleryError
from bict.gallery import Gallery, discard, rollback, stage, switch, verify
from bict.spaces import Space


@pytest.fixture
def staged(gallery, linear):
    transform = linear()
    stage(gallery, transform)
    assert verify(gallery, transform).passed
    return gallery


def test_switching_is_one_new_version_and_keeps_the_old_column(staged, linear):
    versions = Path(staged.address, "vectors.lance/_versions")
    before = len(list(versions.glob("*.manifest")))
    assert switch(staged) == "v2"
    assert len(list(versions.glob("*.manifest"))) == before + 1
    again = Gallery.open(staged.address)
    assert again.active_space == linear().target
    assert again.metadata.columns["v1"].state == "kept"
    assert len(again.vectors("v1")) == 25


def test_only_a_finished_and_verified_column_is_switched_to(gallery, linear):
    with pytest.raises(GalleryError, match=r"no column .* is staged, 'v1' is live"):
        switch(gallery)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt)
    with pytest.raises(GalleryError, match=r"'v2' .* is half staged: finish with bict upgrade run"):
        switch(gallery)
    stage(gallery, linear())
    with pytest.raises(GalleryError, match="was not verified: bict upgrade verify first"):
        switch(gallery)
    assert gallery.active_column == "v1"


@pytest.mark.parametrize("change", ["add", "replace"])
def test_a_row_that_came_after_the_verification_stops_the_switch(staged, embeddings, payload, linear, change):
    rows = embeddings(5, start=25 if change == "add" else 3)
    staged.add(rows, payload(5), replace=change == "replace")
    with pytest.raises(GalleryError, match="added or changed since 'v2' was staged: run again"):
        switch(staged)
    assert Gallery.open(staged.address).active_column == "v1"
    stage(staged, linear())
    with pytest.raises(GalleryError, match="was not verified"):
        switch(staged)
    verify(staged, linear())
    switch(staged)
    assert len(staged.vectors()) == len(staged)


def test_erasing_a_row_after_the_verification_asks_for_another_run(staged, linear):
    staged.delete(["image-3"])
    with pytest.raises(GalleryError, match="run again"):  # the files that held it were written anew
        switch(staged)
    assert stage(staged, linear()).units_skipped == 2
    verify(staged, linear())
    switch(staged)
    assert len(staged.vectors()) == 24


def test_a_row_that_slips_in_takes_the_switch_back(staged, embeddings, payload, monkeypatch):
    write = staged.store.write_metadata

    def slow(text):
        monkeypatch.setattr(staged.store, "write_metadata", write)
        Gallery.open(staged.address).add(embeddings(5, start=25), payload(5))
        write(text)

    monkeypatch.setattr(staged.store, "write_metadata", slow)
    with pytest.raises(GalleryError, match="run again"):
        switch(staged)
    assert Gallery.open(staged.address).active_column == "v1"
    assert len(staged) == 30


def test_a_rollback_restores_every_byte_and_can_be_taken_back(staged, linear):
    before, upgraded = staged.vectors("v1").vectors.tobytes(), staged.vectors("v2").vectors.tobytes()
    switch(staged)
    assert rollback(staged) == "v1"
    assert staged.vectors().vectors.tobytes() == before
    assert staged.metadata.columns["v2"].state == "staged"
    with pytest.raises(GalleryError, match="not live: nothing to roll back"):
        rollback(staged)
    assert verify(staged, linear()).passed
    assert switch(staged) == "v2"
    assert staged.vectors().vectors.tobytes() == upgraded


def test_a_rollback_without_anything_to_go_back_to_is_refused(gallery):
    with pytest.raises(GalleryError, match="keeps no column from before 'v1'"):
        rollback(gallery)


def test_rows_written_since_the_switch_are_never_silently_lost(staged, embeddings, payload, linear):
    switch(staged)
    staged.add(embeddings(5, linear().target, start=25), payload(5))
    with pytest.raises(GalleryError, match=r"5 rows have no vector in 'v1'.*--leave-out"):
        rollback(staged)
    assert staged.active_column == "v2"
    rollback(staged, leave_out=True)
    assert len(staged) == 30
    assert len(staged.search(embeddings(1), k=100).ids[0]) == 25
    with pytest.raises(GalleryError, match=r"5 rows of .* have a vector only in 'v2': switch to it"):
        discard(staged)
    stage(staged, linear())
    verify(staged, linear())
    switch(staged)
    assert len(staged.vectors()) == 30
    expected = embeddings(5, linear().target, start=25).vectors
    np.testing.assert_array_equal(staged.vectors().vectors[25:], expected)


def test_a_discarded_column_is_gone_and_may_be_staged_by_another_transform(staged, linear):
    files = set(Path(staged.address, "vectors.lance/data").iterdir())
    assert discard(staged) == "v2"
    assert list(staged.spaces) == ["v1"]
    assert "v2" not in staged.store.schema().names
    assert not Path(staged.address, "upgrades/vectors/v2").exists()
    with pytest.raises(GalleryError, match="is staged"):
        discard(staged)
    assert files
    assert stage(staged, linear(seed=1)).column == "v2"


def test_a_row_written_in_the_live_space_while_the_next_is_staged_from_the_base_is_not_lost(
    staged, embeddings, payload, linear
):
    switch(staged)
    third = linear(target=Space(name="third", fingerprint="c" * 16, dim=3), seed=1)
    stage(staged, third)
    assert verify(staged, third).passed
    staged.add(embeddings(5, linear().target, start=25), payload(5))
    with pytest.raises(GalleryError, match="run again"):
        switch(staged)
    with pytest.raises(GalleryError, match=r"5 rows have no vector in v1, only in 'v2'.*after bict upgrade discard"):
        stage(staged, third)
    failed = {check.name: check.found for check in verify(staged, third).failed}
    assert failed["rows"] == "25 of 30 rows have a vector"
    assert discard(staged) == "v3"
    second = linear(source=linear().target, target=third.target, seed=2)
    stage(staged, [third, second])
    assert verify(staged, [third, second]).passed
    switch(staged)
    assert len(staged.vectors()) == 30


def test_a_change_of_the_metadata_by_another_writer_is_not_written_over(staged):
    other = Gallery.open(staged.address)
    metadata = staged.metadata
    other.edit(lambda newest: newest.changed("v2", checked=None))
    assert len(staged) == 25  # looks at the newest version, and must not forget what it read
    with pytest.raises(GalleryError, match="changed by another process: run again"):
        staged.store.write_metadata(metadata.switched_to("v2").model_dump_json())
    assert Gallery.open(staged.address).active_column == "v1"
