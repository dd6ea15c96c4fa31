import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bict.embeddings import Embeddings
from bict.engine import LocalEngine
from bict.errors import GalleryError, SpaceError
from bict.gallery import Gallery, discard, info, stage, switch, verify
from bict.gallery.rows import to_rows
from bict.spaces import Space


def expected_vectors(transform, embeddings):
    new = embeddings.vectors @ transform.weights
    return new / np.linalg.norm(new, axis=1, keepdims=True)


def test_staging_writes_a_column_of_another_width_beside_the_live_one(gallery, embeddings, linear):
    transform, seen = linear(), []
    report = stage(gallery, transform, progress=lambda done, total: seen.append((done, total)))
    assert (report.sources, report.column, report.rows, report.units, report.units_skipped) == (("v1",), "v2", 25, 3, 0)
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert gallery.active_column == "v1"
    staged = gallery.metadata.columns["v2"]
    assert (staged.state, staged.checked) == ("staged", None)
    assert [(origin.column, origin.transform) for origin in staged.origins] == [("v1", transform.digest)]
    np.testing.assert_allclose(gallery.vectors("v2").vectors, expected_vectors(transform, embeddings()), atol=1e-6)


def test_staging_twice_does_nothing_the_second_time(gallery, linear):
    stage(gallery, linear())
    again = linear()
    assert stage(gallery, again).units_skipped == 3
    assert again.batches == []
    with pytest.raises(GalleryError, match=r"'v2' is staged with transform .* found another transform"):
        stage(gallery, linear(seed=1))


@pytest.mark.parametrize(("at_once", "finished"), [(1, {2}), (2, {0, 1, 2})])
def test_a_killed_staging_goes_on_where_it_was(gallery, embeddings, linear, at_once, finished):
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from conftest import Linear
        from bict.engine import LocalEngine
        from bict.gallery import Gallery, stage
        kill = lambda rows: rows >= 20 and os.kill(os.getpid(), signal.SIGKILL)
        stage(Gallery.open({gallery.address!r}), Linear(before=kill), engine=LocalEngine({at_once}))
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert gallery.metadata.columns["v2"].state == "staging"
    transform = linear()
    report = stage(Gallery.open(gallery.address), transform)
    assert report.units == 3
    assert report.units_skipped in finished
    assert sum(transform.batches) == 25 - 10 * report.units_skipped
    np.testing.assert_allclose(gallery.vectors("v2").vectors, expected_vectors(transform, embeddings()), atol=1e-6)


def interrupt(after):
    def progress(done, total):
        if done >= after:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_staging_goes_on_where_it_was(gallery, embeddings, linear):
    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt(20))
    files = len(list(Path(gallery.address, "vectors.lance/data").iterdir()))
    assert files == 3 + 1  # the interrupted unit left none
    transform = linear()
    assert stage(gallery, transform).units_skipped == 1
    assert sorted(transform.batches) == [5, 10]  # two units at a time, in any order
    np.testing.assert_allclose(gallery.vectors("v2").vectors, expected_vectors(transform, embeddings()), atol=1e-6)


def test_a_half_staged_column_belongs_to_its_transform(gallery, linear):
    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt(20))
    with pytest.raises(GalleryError, match=r"'v2' is staging with transform .* bict upgrade discard it"):
        stage(gallery, linear(seed=1))
    assert discard(gallery) == "v2"
    assert stage(gallery, linear(seed=1)).units_skipped == 0


def test_a_kill_between_the_vectors_and_their_record_costs_no_work(gallery, embeddings, linear, monkeypatch):
    def killed(column, entries):
        if len(entries) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gallery.store, "commit_staged", killed)
        with pytest.raises(KeyboardInterrupt):
            stage(gallery, linear())
    assert gallery.metadata.columns["v2"].state == "staging"
    transform = linear()
    assert stage(gallery, transform).units_skipped == 3
    np.testing.assert_allclose(gallery.vectors("v2").vectors, expected_vectors(transform, embeddings()), atol=1e-6)


def test_rows_added_to_a_half_staged_gallery_are_staged_too(gallery, embeddings, payload, linear):
    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt(25))
    gallery.add(embeddings(5, start=25), payload(5))
    assert stage(gallery, linear()).units_skipped == 2
    assert len(gallery.vectors("v2")) == 30


def test_a_transform_from_another_space_is_refused(gallery, linear):
    old, new = linear().source, linear().target
    stranger = old.model_copy(update={"fingerprint": "c" * 16})
    with pytest.raises(SpaceError, match="meant the other way round"):
        stage(gallery, linear(source=new, target=old))
    with pytest.raises(SpaceError, match="does not fit the transform's source"):
        stage(gallery, linear(source=stranger))
    assert gallery.store.schema().names.count("v2") == 0


def test_a_transform_that_answers_wrongly_is_refused(gallery, linear):
    class WrongSpace(linear):
        def apply(self, embeddings):
            return embeddings

    class WrongIds(linear):
        def apply(self, embeddings):
            return super().apply(embeddings).take(np.arange(len(embeddings))[::-1])

    class Broken(linear):
        def apply(self, embeddings):
            good = super().apply(embeddings)
            return Embeddings(good.ids, good.vectors * np.float32(np.nan), good.space)

    for wrong, message in [(WrongSpace, "output of the transform"), (WrongIds, "other ids"), (Broken, "not finite")]:
        with pytest.raises(Exception, match=message):
            stage(gallery, wrong())
    assert gallery.active_column == "v1"
    assert gallery.store.count_missing(["v2"], []) == 0


def changed_rows(gallery, rows, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(rows), 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.array([f"image-{row}" for row in rows])
    return Embeddings(ids, vectors, gallery.active_space, np.array(["class 0"] * len(rows)))


def test_rows_added_changed_and_deleted_while_it_stages_are_caught_up(gallery, embeddings, payload, linear):
    changed = changed_rows(gallery, [3, 12], seed=5)
    other = Gallery.open(gallery.address)

    def meanwhile(rows):
        if rows == 10:  # the first unit is staged, the second is being read
            other.add(embeddings(5, start=25), payload(5))
            other.add(changed, payload(5).slice(0, 2), replace=True)
            assert other.delete(["image-4", "image-20"]) == 2

    transform = linear(before=meanwhile)
    stage(gallery, transform, engine=LocalEngine(at_most=1))
    live, staged = gallery.vectors("v1"), gallery.vectors("v2")
    assert staged.ids.tolist() == live.ids.tolist()
    assert len(live) == 28
    assert not {"image-4", "image-20"} & set(live.ids)
    np.testing.assert_allclose(staged.vectors, expected_vectors(transform, live), atol=1e-6)


def test_rows_go_through_the_transform_of_the_first_column_that_has_them(gallery, embeddings, payload, linear):
    first = linear()
    stage(gallery, first)
    verify(gallery, first)
    switch(gallery)
    gallery.add(embeddings(5, first.target, start=25), payload(5))
    third = Space(name="third", fingerprint="c" * 16, dim=3)
    from_base, from_new = linear(target=third, seed=1), linear(source=first.target, target=third, seed=2)
    with pytest.raises(GalleryError, match="5 rows have no vector in v1, only in 'v2': give also a transform"):
        stage(gallery, from_base)
    report = stage(gallery, [from_new, from_base])
    assert report.sources == ("v1", "v2")
    found = gallery.vectors("v3").vectors
    np.testing.assert_allclose(found[:25], expected_vectors(from_base, embeddings()), atol=1e-6)
    written = embeddings(5, first.target, start=25)
    np.testing.assert_allclose(found[25:], expected_vectors(from_new, written), atol=1e-6)
    assert (sorted(from_base.batches), from_new.batches) == ([5, 10, 10], [5])


def test_a_composed_upgrade_starts_from_the_upgraded_vectors(gallery, linear):
    first = linear()
    stage(gallery, first)
    verify(gallery, first)
    switch(gallery)
    third = Space(name="third", fingerprint="c" * 16, dim=3)
    composed = linear(source=first.target, target=third)
    assert stage(gallery, composed).sources == ("v2",)
    np.testing.assert_allclose(
        gallery.vectors("v3").vectors, expected_vectors(composed, gallery.vectors("v2")), atol=1e-6
    )


def test_transforms_of_one_upgrade_fit_together(gallery, linear):
    third = Space(name="third", fingerprint="c" * 16, dim=3)
    with pytest.raises(SpaceError, match="same target"):
        stage(gallery, [linear(), linear(target=third)])
    with pytest.raises(GalleryError, match="two transforms read column 'v1'"):
        stage(gallery, [linear(), linear(seed=1)])
    with pytest.raises(GalleryError, match="no transform"):
        stage(gallery, [])


def test_rows_that_come_in_the_old_space_after_the_switch_are_filled_in(gallery, embeddings, payload, linear):
    transform = linear()
    stage(gallery, transform)
    verify(gallery, transform)
    switch(gallery)
    late = embeddings(5, start=25)
    native = embeddings(5, transform.target, start=30)
    table = to_rows(late, payload(5), "v1")
    gallery.store.append(table.select([name for name in gallery.store.schema().names if name in table.column_names]))
    gallery.add(native, payload(5))
    assert info(gallery).unserved == 5
    stage(gallery, transform)
    assert info(gallery).unserved == 0
    found = gallery.vectors("v2").vectors
    np.testing.assert_allclose(found[25:30], expected_vectors(transform, late), atol=1e-6)
    np.testing.assert_array_equal(found[30:], native.vectors)


def test_a_ledger_that_does_not_belong_to_the_store_is_not_believed(gallery, tmp_path, embeddings, linear):
    """Such as one that was copied from another gallery's folder, or left over from a restored backup."""
    other = Gallery.create(tmp_path / "other", embeddings(), unit_rows=10)
    stage(other, linear())
    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt(20))
    path = gallery.store.ledger("v2").path
    path.write_bytes(other.store.ledger("v2").path.read_bytes())
    transform = linear()
    stage(gallery, transform)
    assert verify(gallery, transform).passed
    np.testing.assert_allclose(gallery.vectors("v2").vectors, expected_vectors(transform, embeddings()), atol=1e-6)
