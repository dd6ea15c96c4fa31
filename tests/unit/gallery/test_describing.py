import pytest

from bict.errors import GalleryError
from bict.gallery import finalize, info, stage, status, switch, upgrade, verify
from bict.gallery.indexing import build_index
from bict.spaces import Space

THIRD = Space(name="third", fingerprint="c" * 16, dim=3)


def test_a_fresh_gallery_holds_what_a_model_wrote(gallery):
    found = info(gallery)
    assert (found.rows, found.unserved) == (25, 0)
    assert found.payload == ("path", "shop", "tags", "price", "label")
    (column,) = found.columns
    assert (column.name, column.state, column.rows, column.written_by_model, column.made_from) == (
        "v1",
        "live",
        25,
        25,
        (),
    )


def test_the_provenance_of_rows_of_several_generations_is_told(gallery, embeddings, payload, linear):
    first = linear()
    upgrade(gallery, first)
    gallery.add(embeddings(5, first.target, start=25), payload(5))
    refitted, composed = linear(target=THIRD), linear(source=first.target, target=THIRD, seed=2)
    upgrade(gallery, [refitted, composed])
    gallery.add(embeddings(2, THIRD, start=30), payload(5).slice(0, 2))
    columns = {column.name: column for column in info(gallery).columns}
    assert (columns["v2"].rows, columns["v2"].written_by_model) == (30, 5)
    assert (columns["v3"].rows, columns["v3"].written_by_model) == (32, 2)
    base = f"v1 ({first.source})"
    assert columns["v3"].made_from == (
        f"25 rows: {base} -> transform {refitted.digest[:12]} -> v3",
        f"5 rows: {base} -> transform {first.digest[:12]} -> v2 -> transform {composed.digest[:12]} -> v3",
    )
    finalize(gallery, drop_base=True)
    after = {column.name: column for column in info(gallery).columns}
    assert (after["v1"].state, after["v1"].rows) == ("dropped", 0)
    assert after["v3"].made_from[0] == f"from v1 (dropped): {base} -> transform {refitted.digest[:12]} -> v3"


def test_the_status_names_the_next_step_at_every_stage(gallery, linear):
    assert "bict upgrade plan" in status(gallery).next
    seen = []

    def look(done, total):
        found = status(type(gallery).open(gallery.address))
        seen.append((found.state, found.units_done, found.units))

    stage(gallery, linear(), progress=look)
    assert seen == [("staging", 0, 3), ("staging", 1, 3), ("staging", 2, 3)]
    found = status(gallery)
    assert (found.state, found.rows_done, found.checked) == ("staged", 25, False)
    assert "verify" in found.next
    verify(gallery, linear())
    assert "bict upgrade index" in status(gallery).next
    build_index(gallery)
    assert "bict upgrade switch" in status(gallery).next
    assert status(gallery).index == "none: 25 rows are searched exactly"
    switch(gallery)
    assert (status(gallery).live, status(gallery).column) == ("v2", None)
    assert "rollback" in status(gallery).next


def test_no_index_is_built_under_a_column_that_is_written_to(gallery, linear):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(gallery, linear(), progress=interrupt)
    with pytest.raises(GalleryError, match="half staged"):
        build_index(gallery)
