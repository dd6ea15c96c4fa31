from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bict.assessment.relevance import RelevancePairs, read_relevance
from bict.errors import DataError, SettingsError, UnknownName

NUMBERS, NAMES = np.array([1, 2]), np.array(["a", "b"])


def rows(listed):
    return [listed.rows[a:b].tolist() for a, b in zip(listed.offsets[:-1], listed.offsets[1:], strict=True)]


def test_each_query_gets_its_gallery_rows_in_the_order_of_the_queries():
    pairs = RelevancePairs(np.array([7, 5, 7, 9, 5, 7]), np.array([12, 11, 10, 10, 99, 12]))
    listed = pairs.listed(np.array([5, 6, 7]), np.array([10, 11, 12]))
    assert rows(listed) == [[1], [], [0, 2]]  # a repeated pair counts once; unknown ids are left out


def test_an_item_is_never_its_own_answer():
    listed = RelevancePairs(np.array(["a", "a"]), np.array(["a", "b"])).listed(NAMES, NAMES)
    assert rows(listed) == [[1], []]
    with pytest.raises(DataError, match="no relevance pair"):
        RelevancePairs(np.array(["a"]), np.array(["a"])).listed(NAMES, NAMES)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("ids", [NUMBERS, NAMES])
def test_reads_ids_of_the_type_of_the_vectors(tmp_path, ending, ids):
    path, found = tmp_path / f"pairs.{ending}", ids.tolist()
    table = pa.table({"query": found, "item": found[::-1], "grade": [1, 2]})
    if ending == "csv":
        path.write_text("query,item,grade\n" + "".join(f"{q},{i},1\n" for q, i in zip(found, found[::-1], strict=True)))
    else:
        pq.write_table(table, path)
    pairs = read_relevance(path, ids)
    assert pairs.query_ids.tolist() == found
    assert pairs.item_ids.tolist() == found[::-1]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("query,other\n1,2\n", UnknownName, "item"),
        ("query,item\na,b\n", DataError, "no readable pairs"),
        ("query,item\n1,\n", DataError, "nulls"),
        ("", DataError, "no readable pairs"),
    ],
)
def test_refuses_what_is_no_list_of_pairs(tmp_path, text, error, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(error, match=message):
        read_relevance(tmp_path / "pairs.csv", NUMBERS)


def test_pairs_of_unknown_ids_are_counted_and_alone_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("query,item\n1,2\n1,9\n8,2\n2,2\n")
    pairs = read_relevance(tmp_path / "pairs.csv", NUMBERS)
    assert (pairs.query_ids.tolist(), pairs.item_ids.tolist(), pairs.left_out) == ([1], [2], 3)
    (tmp_path / "pairs.csv").write_text("query,item\n7,8\n")
    with pytest.raises(DataError, match="none of 1 pairs"):
        read_relevance(tmp_path / "pairs.csv", NUMBERS)


def test_refuses_other_files(tmp_path):
    with pytest.raises(SettingsError, match="ends in"):
        read_relevance(tmp_path / "pairs.txt", NUMBERS)
    with pytest.raises(DataError, match="no readable"):
        read_relevance(tmp_path / "absent.csv", NUMBERS)
