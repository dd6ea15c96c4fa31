"""Columns of ids and names: what they hold, and how two of them are joined and compared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.assessment import names
from bict.assessment.names import count_empty, differing, ids_of, joined, names_of, taken
from bict.errors import VectorError

TEXT = st.text(st.sampled_from("ab9é漢😀 "), max_size=3)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


def chunked(values, kind=None) -> pa.ChunkedArray:
    """In chunks of two, as a file has them in blocks."""
    parts = [pa.array(values[at : at + 2], kind) for at in range(0, len(values), 2)]
    return pa.chunked_array(parts, kind or pa.array(values).type)


# --- ids ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.one_of(st.lists(TEXT, min_size=1, max_size=12), st.lists(NUMBERS, min_size=1, max_size=12)), st.booleans())
def test_ids_are_unique_and_found_by_row(values, arrow):
    column = chunked(values) if arrow else np.array(values)
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        with pytest.raises(VectorError) as caught:
            ids_of(column)
        assert str(caught.value) == (
            f"{len(twice)} ids occur more than once, the first is {twice[0]}: ids must be unique"
        )
        return
    ids = ids_of(column)
    assert ids.tolist() == values
    rows = np.arange(len(values))[::-1]
    assert taken(ids, rows).tolist() == values[::-1]
    assert taken(ids, rows).dtype.kind == ("i" if isinstance(values[0], int) else "U")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.string(), pa.large_string()),
        (pa.large_string(), pa.large_string()),
        (pa.string_view(), pa.large_string()),
        (pa.uint16(), pa.uint16()),
        (pa.int64(), pa.int64()),
    ],
)
def test_any_text_and_any_integers_are_ids(kind, expected):
    values = [7, 5, 6] if pa.types.is_integer(expected) else ["c", "a", "b"]
    assert ids_of(chunked(values, kind)).type == expected
    assert ids_of(chunked(values, kind)).tolist() == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], "ids must be strings or integers, found float64"),
        ([True, False], "ids must be strings or integers, found bool"),
        ([b"a", b"b"], "ids must all be strings or all be integers, without nulls"),
    ],
)
def test_other_ids_are_refused(values, message):
    with pytest.raises(VectorError) as caught:
        ids_of(chunked(values))
    assert str(caught.value) == message


# --- joins ----------------------------------------------------------------------------------------------------------

INTEGERS = {"int8": 7, "int64": 63, "uint8": 8, "uint64": 64}


@st.composite
def side(draw, text: bool):
    if text:
        return ids_of(chunked(draw(st.lists(TEXT, min_size=1, max_size=30, unique=True)), pa.string()))
    kind = draw(st.sampled_from(sorted(INTEGERS)))
    low, high = (0 if kind[0] == "u" else -(2 ** INTEGERS[kind])), 2 ** INTEGERS[kind] - 1
    near = st.one_of(st.integers(max(low, -20), 20), st.integers(low, high))
    return ids_of(np.array(draw(st.lists(near, min_size=1, max_size=30, unique=True)), kind))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), text=st.booleans(), block=st.integers(1, 9))
def test_is_the_join_of_two_dictionaries(data, text, block):
    old, new = data.draw(side(text)), data.draw(side(text))
    at = {name: row for row, name in enumerate(new.tolist())}
    expected = {(row, at[name]) for row, name in enumerate(old.tolist()) if name in at}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "COMPARED", block)
        old_rows, new_rows = joined(old, new)
    assert set(zip(old_rows.tolist(), new_rows.tolist(), strict=True)) == expected
    assert len(old_rows) == len(expected)
    if old.type == new.type:
        found = taken(old, old_rows).tolist()
        assert found == sorted(found)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "b", "é"], ["b", "a", "b", "é"]),
        ([3, 1, 3], ["3", "1", "3"]),
        ([2.0, 0.5, float("nan")], ["2.0", "0.5", ""]),
        ([True, False, True], ["True", "False", "True"]),
    ],
)
def test_names_are_text_and_held_once(values, expected):
    for column in (chunked(values), np.array(values)):
        found = names_of(column)
        assert found.tolist() == taken(found, np.arange(len(values))).tolist() == expected
        assert len(found.dictionary) == len(set(expected))
        assert count_empty(found) == expected.count("")


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_rows_differ_where_the_names_do(pairs):
    one, other = ([pair[at] for pair in pairs] for at in (0, 1))
    expected = [row for row, (left, right) in enumerate(pairs) if left != right]
    assert differing(names_of(chunked(one, pa.string())), names_of(chunked(other, pa.string()))).tolist() == expected
