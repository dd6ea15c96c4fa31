import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bict.embeddings import Embeddings
from bict.errors import GalleryError, SpaceError
from bict.gallery import Gallery, discard, stage


def expected_vectors(transform, embeddings):
    new = embeddings.vectors @ transform.weights
    return new / np.linalg.norm(new, axis=1, keepdims=True)


def test_staging_writes_a_column_of_another_width_beside_the_live_one(gallery, embeddings, linear):
    transform, seen = linear(), []
    report = stage(gallery, transform, progress=lambda done, total: seen.append((done, total)))
    assert (report.source, report.column, report.rows, report.units, report.units_skipped) == ("v1", "v2", 25, 3, 0)
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert gallery.active_column == "v1"
    staged = gallery.metadata.columns["v2"]
    assert (staged.state, staged.made_by, staged.base) == ("staged", (transform.digest,), "v1")
    np.testing.assert_allclose(gallery.vectors("v2").vectors, expected_vectors(transform, embeddings()), atol=1e-6)


def test_staging_twice_does_nothing_the_second_time(gallery, linear):
    stage(gallery, linear())
    again = linear()
    assert stage(gallery, again).units_skipped == 3
    assert again.batches == []
    with pytest.raises(GalleryError, match="'v2' is staged by transform"):
        stage(gallery, linear(seed=1))


def test_a_killed_staging_goes_on_where_it_was(gallery, embeddings, linear):
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from conftest import Linear
        from bict.gallery import Gallery, stage
        kill = lambda rows: rows >= 20 and os.kill(os.getpid(), signal.SIGKILL)
        stage(Gallery.open({gallery.address!r}), Linear(before=kill))
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(gallery.spaces) == ["v1"]
    transform = linear()
    report = stage(Gallery.open(gallery.address), transform)
    assert (report.units, report.units_skipped, transform.batches) == (3, 2, [5])
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
    assert transform.batches == [10, 5]
    np.testing.assert_allclose(gallery.vectors("v2").vectors, expected_vectors(transform, embeddings()), atol=1e-6)


def test_a_half_staged_column_belongs_to_its_transform(gallery, linear):
    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt(20))
    with pytest.raises(GalleryError, match=r"begun with transform .* discard column 'v2'"):
        stage(gallery, linear(seed=1))
    discard(gallery, "v2")
    assert stage(gallery, linear(seed=1)).units_skipped == 0


def test_a_kill_between_the_vectors_and_their_record_costs_no_work(gallery, embeddings, linear, monkeypatch):
    def killed(change):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gallery, "edit", killed)
        with pytest.raises(KeyboardInterrupt):
            stage(gallery, linear())
    assert list(gallery.spaces) == ["v1"]
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
    assert list(gallery.spaces) == ["v1"]
