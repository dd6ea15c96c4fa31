import contextlib
import hashlib

import numpy as np
import pyarrow as pa
import pytest

from bict.errors import GalleryError, PrivacyError, SpaceError
from bict.gallery import Gallery, plan, stage, switch, upgrade
from bict.gallery.metadata import Origin
from bict.spaces import Space


def digest_of(gallery, columns):
    """A hash over every byte of some columns; the schema's metadata, which must change, is left out."""
    table = pa.Table.from_batches(gallery.store.scan(columns)).combine_chunks().replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def test_an_upgrade_changes_the_active_vectors_and_not_one_byte_else(gallery, embeddings, linear):
    untouched = ["id", "path", "shop", "tags", "price", "label", "v1"]
    before, transform = digest_of(gallery, untouched), linear()
    report = upgrade(gallery, transform)
    assert (report.column, report.already_upgraded, report.verified.passed) == ("v2", False, True)
    assert digest_of(gallery, untouched) == before
    assert gallery.active_space == transform.target
    queries = transform.apply(embeddings().take(np.arange(3)))
    assert gallery.search(queries, k=1).ids[:, 0].tolist() == ["image-0", "image-1", "image-2"]


def test_staging_verifying_and_indexing_tell_how_far_they_are(gallery, linear):
    told = {}

    def steps(name):
        told[name] = []
        return contextlib.nullcontext(lambda *call: told[name].append(call))

    upgrade(gallery, linear(), steps=steps)
    assert list(told) == ["stage", "verify", "index"]
    assert {name: calls[-1] for name, calls in told.items()} == {"stage": (25, 25), "verify": (25, 25), "index": (1, 1)}


def test_only_the_gallery_was_opened(gallery, linear, tmp_path):
    report = upgrade(gallery, linear())
    assert report.opened
    assert all(path.startswith(str(tmp_path.resolve() / "gallery")) for path in report.opened)


def test_upgrading_again_changes_nothing_and_says_so(gallery, linear):
    upgrade(gallery, linear())
    before = gallery.metadata
    again = linear()
    report = upgrade(gallery, again)
    assert (report.column, report.already_upgraded, report.staged) == ("v2", True, None)
    assert again.batches == []
    assert gallery.metadata == before
    with pytest.raises(SpaceError, match="other way round"):
        upgrade(gallery, linear(source=Space(name="x", fingerprint="e" * 16, dim=4), seed=1))


def test_a_better_transform_starts_from_the_base_vectors_again(gallery, embeddings, linear):
    upgrade(gallery, linear())
    better = linear(seed=1)
    assert upgrade(gallery, better).staged.sources == ("v1",)
    expected = better.apply(embeddings()).vectors
    np.testing.assert_allclose(gallery.vectors("v3").vectors, expected, atol=1e-6)


def test_a_chain_of_upgrades_remembers_its_transforms(gallery, linear):
    third = Space(name="third", fingerprint="c" * 16, dim=3)
    first, second = linear(), linear(source=linear().target, target=third)
    upgrade(gallery, first)
    upgrade(gallery, second)
    column = gallery.metadata.active_column
    assert (column.name, column.origins) == ("v3", (Origin(column="v2", transform=second.digest),))
    assert gallery.metadata.columns["v2"].origins == (Origin(column="v1", transform=first.digest),)
    assert {name: column.state for name, column in gallery.metadata.columns.items()} == {
        "v1": "kept",
        "v2": "kept",
        "v3": "live",
    }


def test_a_failed_check_is_named_and_the_live_column_stays(gallery, linear):
    class Drifting(linear):
        def apply(self, embeddings):
            stable = super().apply(embeddings)
            order = np.roll(np.arange(6), len(self.batches))
            return type(stable)(stable.ids, stable.vectors[:, order], stable.space)

    with pytest.raises(GalleryError, match=r"check 'recomputed sample' .*'v1' stays live; bict upgrade discard"):
        upgrade(gallery, Drifting())
    assert gallery.active_column == "v1"
    assert gallery.metadata.columns["v2"].state == "staged"


def test_an_image_cannot_be_opened_by_the_transform(gallery, linear, tmp_path):
    image = tmp_path / "image-0.jpg"
    image.write_bytes(b"pixels")
    with pytest.raises(PrivacyError, match=r"refused file .*image-0.jpg"):
        upgrade(gallery, linear(before=lambda rows: image.read_bytes()))

    def peek(rows):
        with contextlib.suppress(Exception):
            image.read_bytes()

    with pytest.raises(PrivacyError, match="attempts to leave the boundary, first file"):
        upgrade(gallery, linear(before=peek))
    assert Gallery.open(gallery.address).active_column == "v1"


def test_the_transforms_own_path_and_the_run_folder_may_be_opened(gallery, linear, tmp_path):
    weights, run = tmp_path / "transform", tmp_path / "run"
    for folder in (weights, run):
        folder.mkdir()

    def touch(rows):
        (weights / "weights.txt").write_text("w")
        (run / "log.txt").write_text("l")

    report = upgrade(gallery, linear(before=touch, path=weights), run_dir=run)
    assert {str((weights / "weights.txt").resolve()), str((run / "log.txt").resolve())} <= set(report.opened)


def test_an_upgrade_picks_up_what_was_staged_by_hand(gallery, linear):
    stage(gallery, linear())
    report = upgrade(gallery, linear())
    assert report.staged.units_skipped == 3
    assert gallery.active_column == "v2"
    with pytest.raises(GalleryError, match="'v2' is live"):
        switch(gallery)


def test_an_upgrade_into_a_space_that_the_gallery_has_left_is_refused(gallery, linear):
    third = Space(name="third", fingerprint="c" * 16, dim=3)
    first, second = linear(), linear(source=linear().target, target=third)
    upgrade(gallery, first)
    back = linear(source=linear().target, target=linear().source, seed=3)
    with pytest.raises(
        SpaceError, match=r"is the space of column 'v1', which was live before 'v2'.*bict upgrade rollback"
    ):
        upgrade(gallery, back)
    upgrade(gallery, second)
    for again in (first, linear(seed=5)):
        with pytest.raises(SpaceError, match="is the space of column 'v2'"):
            upgrade(gallery, again)
        assert not plan(gallery, again).passed
    assert gallery.active_column == "v3"
