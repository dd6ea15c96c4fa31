import json

import pytest
from pydantic import ValidationError

from bict.errors import GalleryError
from bict.gallery.metadata import Column, GalleryMetadata, first_generation, parse_metadata
from bict.spaces import Space

ONE = Space(name="one", fingerprint="a" * 16, dim=4)
TWO = Space(name="two", fingerprint="b" * 16, dim=6)
STAGED = Column(generation=2, space=TWO, state="staged", made_by=("d1",), base="v1")


def test_metadata_survives_the_way_to_json_and_back():
    metadata = first_generation(ONE).with_column(STAGED)
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
    assert after.columns["v2"].made_by == ("d1",)
    assert before.staged == STAGED
    assert after.staged is None
    assert after.next_generation == 3


def test_exactly_the_active_column_is_live():
    live = STAGED.model_copy(update={"state": "live"})
    with pytest.raises(ValidationError, match="live columns"):
        GalleryMetadata(active="v1", columns={**first_generation(ONE).columns, "v2": live})
    with pytest.raises(GalleryError, match="added by another process"):
        first_generation(ONE).with_column(first_generation(TWO).active_column)


def test_a_chain_knows_where_each_column_came_from():
    metadata = first_generation(ONE).with_column(STAGED).switched_to("v2")
    third = Column(generation=3, space=ONE, state="staged", made_by=("d1", "d2"), base="v1")
    refitted = Column(generation=3, space=ONE, state="staged", made_by=("d3",), base="v1")
    assert metadata.with_column(third).source_of(third).name == "v2"
    assert metadata.with_column(refitted).source_of(refitted).name == "v1"
    assert metadata.without("v1").source_of(metadata.columns["v2"]) is None
    assert metadata.made_by("d1").name == "v2"
    assert metadata.made_by("d2") is None
