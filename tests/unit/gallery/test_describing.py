import pytest

from bict.engine import LocalEngine
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
    assert (column.name, column.state, column.rows) == ("v1", "live", 25)
    assert column.made_from == (f"25 rows: v1 ({gallery.active_space}), written by its model",)


def test_the_provenance_of_rows_of_several_generations_is_told(gallery, embeddings, payload, linear):
    first = linear()
    upgrade(gallery, first)
    gallery.add(embeddings(5, first.target, start=25), payload(5))
    refitted, composed = linear(target=THIRD), linear(source=first.target, target=THIRD, seed=2)
    upgrade(gallery, [refitted, composed])
    gallery.add(embeddings(2, THIRD, start=30), payload(5).slice(0, 2))
    columns = {column.name: column for column in info(gallery).columns}
    base, second = f"v1 ({first.source}), written by its model", f"v2 ({first.target}), written by its model"
    assert columns["v2"].made_from == (
        f"25 rows: {base} -> transform {first.digest[:12]} -> v2",
        f"5 rows: {second}",
    )
    told = (
        f"25 rows: {base} -> transform {refitted.digest[:12]} -> v3",
        f"5 rows: {second} -> transform {composed.digest[:12]} -> v3",
        f"2 rows: v3 ({THIRD}), written by its model",
    )
    assert (columns["v3"].rows, columns["v3"].made_from) == (32, told)
    finalize(gallery, drop_base=True)
    after = {column.name: column for column in info(gallery).columns}
    assert (after["v1"].state, after["v1"].rows) == ("dropped", 0)
    assert after["v3"].made_from[:3] == told
    assert "rows written since are not counted" in after["v3"].made_from[3]


def test_rows_that_a_model_wrote_in_the_middle_of_a_chain_are_told_apart(gallery, embeddings, payload, linear):
    first = linear()
    upgrade(gallery, first)
    gallery.add(embeddings(5, first.target, start=25), payload(5))
    composed = linear(source=first.target, target=THIRD, seed=2)
    upgrade(gallery, composed)
    (found,) = [column for column in info(gallery).columns if column.name == "v3"]
    steps = f"-> transform {composed.digest[:12]} -> v3"
    base = f"v1 ({first.source}), written by its model"
    assert found.made_from == (
        f"25 rows: {base} -> transform {first.digest[:12]} -> v2 {steps}",
        f"5 rows: v2 ({first.target}), written by its model {steps}",
    )


def test_the_status_names_the_next_step_at_every_stage(gallery, linear):
    assert "bict upgrade plan" in status(gallery).next
    seen = []

    def look(done, total):
        found = status(type(gallery).open(gallery.address))
        seen.append((found.state, found.units_done, found.units))

    stage(gallery, linear(), engine=LocalEngine(at_most=1), progress=look)
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
