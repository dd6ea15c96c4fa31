import lancedb
import numpy as np
import pytest

from bict.embeddings import arrow_to_vectors, vectors_to_arrow
from bict.errors import GalleryError
from bict.gallery import stage, switch, verify


def found(report):
    return {check.name: check.found for check in report.checks}


def rewrite(gallery, change):
    """Put changed vectors into the staged column, past the ledger."""
    store, entries = gallery.store, gallery.store.ledger("v2").entries()
    for unit in store.units("v2"):
        blocks = [arrow_to_vectors(batch["v2"]).copy() for batch in store.read_unit(unit, ["v2"])]
        receipt = store.stage_unit(unit, "v2", [vectors_to_arrow(change(block)) for block in blocks])
        entries[unit.key] = entries[unit.key].model_copy(update={"receipt": receipt})
    store.commit_staged("v2", entries)


def test_a_good_column_passes_every_check(gallery, linear):
    stage(gallery, linear())
    report = verify(gallery, linear(), sample=8)
    assert report.passed
    assert gallery.metadata.columns["v2"].checked
    assert found(report) | {"neighbour overlap@10": "", "similarity drift": ""} == {
        "rows": "25 of 25 rows have a vector",
        "finite": "0 vectors are NaN, infinite or all zero",
        "unit length": found(report)["unit length"],
        "checksums": "3 of 3 units agree with the ledger",
        "recomputed sample": found(report)["recomputed sample"],
        "neighbour overlap@10": "",
        "similarity drift": "",
    }
    drift = "cosine of random pairs: {} before, {} after"
    assert found(report)["similarity drift"].startswith(drift.split("{}", maxsplit=1)[0])
    switch(gallery)
    assert verify(gallery, linear()).passed


def test_an_orthogonal_transform_keeps_all_neighbours(gallery, linear):
    class Rotation(linear):
        @property
        def weights(self):
            return np.eye(4, 6, dtype=np.float32)

    stage(gallery, Rotation())
    overlap = next(check for check in verify(gallery, Rotation()).checks if check.name.startswith("neighbour"))
    assert overlap.found == "1.00 of a row's 10 neighbours stay the same, over 25 rows"
    assert not overlap.required


def test_one_flipped_sign_is_caught(gallery, linear):
    stage(gallery, linear())

    def flip_last(block):
        block[-1, 0] *= -1
        return block

    rewrite(gallery, flip_last)
    failed = verify(gallery, linear()).failed
    text = "0 of 3 units agree with the ledger, 3 are not what was written"
    assert [(check.name, check.found) for check in failed] == [("checksums", text)]
    assert gallery.metadata.columns["v2"].checked is None


def test_vectors_that_are_not_of_unit_length_are_caught(gallery, linear):
    stage(gallery, linear())
    rewrite(gallery, lambda block: block * np.float32(2))
    failed = {check.name: check.found for check in verify(gallery, linear()).failed}
    assert failed["unit length"] == "norms are off 1 by up to 1.0e+00"


def test_nulls_are_caught(gallery, linear):
    stage(gallery, linear())
    lancedb.connect(gallery.address).open_table("vectors").update(where="price < 0.2", values_sql={"v2": "NULL"})
    names = {check.name: check.found for check in verify(gallery, linear()).failed}
    assert names["rows"] == "23 of 25 rows have a vector"
    stage(gallery, linear())
    assert verify(gallery, linear()).passed


def test_a_unit_whose_rows_were_deleted_by_another_tool_is_recomputed_as_a_whole(gallery, linear):
    stage(gallery, linear())
    lancedb.connect(gallery.address).open_table("vectors").delete("price < 0.2")
    report = verify(gallery, linear())
    text = "2 of 3 units agree with the ledger, 1 changed since and were recomputed: 0 rows wrong"
    assert found(report)["checksums"] == text
    assert report.passed
    switch(gallery)
    assert len(gallery.vectors()) == 23


def test_a_staged_column_that_the_transform_would_not_make_is_caught(gallery, linear):
    stage(gallery, linear())

    class Impostor(linear):
        @property
        def weights(self):
            return super().weights * np.float32([1, 1, 1, 1, 1, 1.001])

        digest = linear().digest

    failed = verify(gallery, Impostor()).failed
    assert [check.name for check in failed] == ["recomputed sample"]


def test_a_transform_that_staged_nothing_is_refused(gallery, linear):
    with pytest.raises(GalleryError, match="has no column made by transform"):
        verify(gallery, linear())
