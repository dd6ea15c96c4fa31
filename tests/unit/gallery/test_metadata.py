import json

import pytest
from pydantic import ValidationError

from bict.errors import GalleryError
from bict.gallery.metadata import Column, GalleryMetadata, Origin, first_generation, parse_metadata
from bict.spaces import Space

ONE = Space(name="one", fingerprint="a" * 16, dim=4)
TWO = Space(name="two", fingerprint="b" * 16, dim=6)


def column(generation, state, *origins):
    made = tuple(Origin(column=source, transform=transform) for source, transform in origins)
    return Column(generation=generation, space=TWO, state=state, stored_as=f"v{generation}", origins=made)


STAGED = column(2, "staged", ("v1", "d1"))


def test_metadata_survives_the_way_to_json_and_back():
    metadata = first_generation(ONE, stored_as="embedding", id_column="photo").with_column(STAGED)
    assert parse_metadata(metadata.model_dump_json(), "somewhere") == metadata


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, this bict reads 1"),
        ({"colour": "red"}, "damaged.*colour"),
        ({"active": "v9"}, "damaged.*active column 'v9'"),
        ({"columns": {}}, "damaged"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(change, message):
    text = json.dumps(json.loads(first_generation(ONE).model_dump_json()) | change)
    with pytest.raises(GalleryError, match=message) as caught:
        parse_metadata(text, "somewhere")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "{", "[]", "3"])
def test_no_metadata_and_no_json_are_refused(text):
    with pytest.raises(GalleryError):
        parse_metadata(text, "somewhere")


def test_switching_keeps_the_column_before_and_changes_nothing_else():
    before = first_generation(ONE).with_column(STAGED)
    after = before.switched_to("v2")
    assert after.active == "v2"
    assert {name: column.state for name, column in after.columns.items()} == {"v1": "kept", "v2": "live"}
    assert after.columns["v2"].origins == STAGED.origins
    assert (before.staged, after.staged) == (STAGED, None)
    assert after.next_generation == 3
    assert (before.previous, after.previous.name) == (None, "v1")


def test_exactly_one_column_is_live_and_at_most_one_is_staged():
    live = STAGED.model_copy(update={"state": "live"})
    with pytest.raises(ValidationError, match="live columns"):
        GalleryMetadata(active="v1", columns={**first_generation(ONE).columns, "v2": live})
    with pytest.raises(GalleryError, match="added by another process"):
        first_generation(ONE).with_column(first_generation(TWO).active_column)
    with pytest.raises(ValidationError, match="more than one column is staged"):
        first_generation(ONE).with_column(STAGED).with_column(column(3, "staging", ("v2", "d2")))


def test_a_rollback_goes_to_the_newest_older_column_that_is_kept():
    metadata = first_generation(ONE).with_column(STAGED).switched_to("v2")
    chained = metadata.with_column(column(3, "staged", ("v2", "d2"))).switched_to("v3")
    assert chained.previous.name == "v2"
    assert chained.changed("v2", state="dropped").previous.name == "v1"
    back = chained.switched_to("v2", before="staged")
    assert (back.active, back.staged.name, back.previous.name) == ("v2", "v3", "v1")


def test_a_dropped_column_is_remembered_but_not_stored():
    metadata = first_generation(ONE).with_column(STAGED).switched_to("v2").changed("v1", state="dropped")
    assert list(metadata.stored) == ["v2"]
    assert metadata.next_generation == 3


def test_a_column_is_found_by_the_transforms_that_made_it():
    two = column(3, "staged", ("v1", "d3"), ("v2", "d2"))
    metadata = first_generation(ONE).with_column(STAGED).switched_to("v2").with_column(two)
    assert metadata.made_by(["d1"]).name == "v2"
    assert metadata.made_by(["d2", "d3"]).name == "v3"
    assert metadata.made_by(["d2"]) is None
