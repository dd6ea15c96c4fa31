import numpy as np
import pyarrow as pa
import pytest

from bict.errors import SpaceError
from bict.gallery import plan, stage, switch, upgrade, verify
from bict.gallery.planning import Step
from bict.spaces import Space


def files(gallery):
    return sorted(path.name for path in gallery.store.reach().paths[0].rglob("*"))


def test_a_plan_says_what_would_be_written_and_writes_nothing(gallery, linear):
    before, transform = files(gallery), linear()
    planned = plan(gallery, transform)
    assert files(gallery) == before
    assert (planned.column, planned.rows, planned.bytes_to_write) == ("v2", 25, 25 * 6 * 4)
    assert planned.steps == (Step("v1", str(transform.source), transform.digest, 25),)
    assert planned.passed
    assert planned.bytes_free > 0
    assert planned.rows_per_second > 0
    assert planned.seconds == pytest.approx(25 / planned.rows_per_second)


def test_a_plan_of_several_transforms_counts_the_rows_of_each(gallery, embeddings, payload, linear):
    upgrade(gallery, linear())
    gallery.add(embeddings(5, linear().target, start=25), payload(5))
    third = Space(name="third", fingerprint="c" * 16, dim=3)
    planned = plan(gallery, [linear(target=third), linear(source=linear().target, target=third)])
    assert [(step.source, step.rows) for step in planned.steps] == [("v1", 25), ("v2", 5)]
    assert any("'v2' holds upgraded vectors" in text for text in planned.warnings)


def test_what_stands_against_an_upgrade_is_listed(gallery, embeddings, payload, linear):
    stranger = Space(name="x", fingerprint="e" * 16, dim=4)
    wrong = plan(gallery, linear(source=stranger))
    assert not wrong.passed
    assert "does not fit the transform's source" in wrong.problems[0]
    assert (wrong.column, wrong.seconds) == (None, None)
    stage(gallery, linear())
    assert "found another transform" in plan(gallery, linear(seed=1)).problems[0]
    again = plan(gallery, linear())
    assert again.passed
    assert "begun already" in again.warnings[0]
    verify(gallery, linear())
    switch(gallery)
    gallery.add(embeddings(5, linear().target, start=25), payload(5))
    third = Space(name="third", fingerprint="c" * 16, dim=3)
    assert "5 rows have no vector in v1, only in 'v2'" in plan(gallery, linear(target=third)).problems[0]


def test_a_full_disk_and_a_failing_transform_are_found_before(gallery, linear, monkeypatch):
    monkeypatch.setattr(gallery.store, "bytes_needed", lambda dim: (1000, 999))
    assert plan(gallery, linear()).problems == ("1,000 bytes are needed and 999 are free: free disk first",)

    class Broken(linear):
        def apply(self, embeddings):
            raise SpaceError("no")

    assert "no" in plan(gallery, Broken()).problems


def test_rows_without_a_live_vector_are_mentioned(gallery, embeddings, payload, linear):
    upgrade(gallery, linear())
    table = gallery.store.fetch(pa.array(["image-0"]), ["path", "shop", "tags", "price", "label"])
    gallery.store.append(table.set_column(0, "id", [["late"]]))
    composed = linear(source=linear().target, target=Space(name="third", fingerprint="c" * 16, dim=3))
    assert any("1 rows have no vector in the live column" in text for text in plan(gallery, composed).warnings)
    assert np.isfinite(plan(gallery, composed).seconds)
