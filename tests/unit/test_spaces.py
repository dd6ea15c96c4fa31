from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bict.errors import SpaceError
from bict.spaces import Space, compare, fingerprint, require_same

OLD = Space(name="old", fingerprint="a" * 16, dim=8)
NEW = Space(name="new", fingerprint="b" * 16, dim=8, backward_compatible_with=("a" * 16,))
NEWER = Space(name="newer", fingerprint="c" * 16, dim=8, backward_compatible_with=("b" * 16,))


@pytest.mark.parametrize(
    ("query", "gallery", "expected"),
    [
        (OLD, OLD, "same space"),
        (NEW, NEW, "same space"),
        (NEW, OLD, "backward compatible"),
        (NEWER, NEW, "backward compatible"),
        (OLD, NEW, None),
        (NEW, NEWER, None),
        (NEWER, OLD, None),
        (OLD, NEWER, None),
    ],
)
def test_who_may_search_whom(query, gallery, expected):
    """Compatibility is declared, goes one way, and is not passed on along a chain."""
    if expected is not None:
        assert compare(query, gallery) == expected
        return
    with pytest.raises(SpaceError) as caught:
        compare(query, gallery)
    assert str(caught.value).startswith(
        f"queries of space {query} cannot be compared with gallery vectors of space {gallery}: "
    )
    assert "\n" not in str(caught.value)


def test_the_same_dimension_is_no_permission():
    stranger = OLD.model_copy(update={"fingerprint": "d" * 16})
    with pytest.raises(SpaceError):
        compare(stranger, OLD)
    with pytest.raises(SpaceError):
        require_same(stranger, OLD, "gallery.parquet")


@pytest.mark.parametrize("change", [{"dim": 9}, {"metric": "l2"}])
def test_a_declaration_does_not_bridge_dimensions_or_metrics(change):
    with pytest.raises(SpaceError):
        compare(NEW, OLD.model_copy(update=change))


def test_the_name_and_the_declarations_are_no_part_of_the_identity():
    renamed = OLD.model_copy(update={"name": "other", "backward_compatible_with": ("e" * 16,)})
    assert OLD.same_as(renamed)
    assert compare(renamed, OLD) == "same space"
    require_same(renamed, OLD, "rows")


@pytest.mark.parametrize("change", [{"fingerprint": "f" * 16}, {"dim": 9}, {"metric": "dot"}, {"normalised": False}])
def test_everything_else_is(change):
    changed = OLD.model_copy(update=change)
    assert not OLD.same_as(changed)
    with pytest.raises(SpaceError) as caught:
        require_same(changed, OLD, "rows")
    assert str(caught.value) == f"rows: found vectors of space {changed}, expected {OLD}"


def test_a_space_prints_short():
    assert str(OLD) == "old (8-d, aaaaaaaa)"


def test_a_space_survives_json():
    assert Space.model_validate_json(NEW.model_dump_json()) == NEW


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"dim": 0},
        {"fingerprint": "a" * 15},
        {"fingerprint": "A" * 16},
        {"fingerprint": "a" * 65},
        {"fingerprint": "a" * 16 + "\n"},
        {"metric": "hamming"},
        {"colour": "red"},
    ],
)
def test_a_space_that_cannot_be_is_refused(change):
    with pytest.raises(ValidationError):
        Space(**(OLD.model_dump() | change))


def test_a_space_cannot_be_changed():
    with pytest.raises(ValidationError):
        OLD.dim = 9


def test_a_fingerprint_is_the_hash_of_its_parts_with_their_lengths():
    """Known answer: `printf '\\0\\0\\0\\0\\0\\0\\0\\1a\\0\\0\\0\\0\\0\\0\\0\\2bc' | sha256sum`."""
    assert fingerprint(b"a", b"bc") == "3fafa1cf2f19a7c1129beb20cf0983f73a489a221fc0dd2f16d1be292d089205"
    assert fingerprint() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_other_parts_have_another_fingerprint_also_where_their_bytes_run_together(first, second):
    assert (fingerprint(*first) == fingerprint(*second)) == (first == second)


def test_moving_a_boundary_or_forging_a_length_changes_the_fingerprint():
    forged = b"a" + (1).to_bytes(8, "big") + b"b"
    prints = [fingerprint(*parts) for parts in ((b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"", b"abc"))]
    assert len({*prints, fingerprint(forged), fingerprint(b"a", b"b")}) == 7
    assert all(len(value) == 64 for value in prints)
