from __future__ import annotations

import pytest

from bict.data.tables import read_columns
from bict.errors import DataError


def test_columns_come_as_text_in_the_order_asked_for(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('\ufeffid,url,images\n007,x,"a b"\nNA,,null\n,y,\n', encoding="utf-8")
    assert read_columns(path, ("images", "id")) == [["a b", "null", ""], ["007", "NA", ""]]


def test_a_line_may_be_longer_than_a_mebibyte(tmp_path):
    path = tmp_path / "list.csv"
    images = " ".join(f"{number:016x}" for number in range(100_000))
    path.write_text(f"id,images\n1,{images}\n2,x\n")
    assert read_columns(path, ("id", "images"))[1] == [images, "x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,name\n1,2\n", "has 0 columns 'images', expected one: found id, name"),
        ("images,id,images\n1,2,3\n", "has 2 columns 'images', expected one"),
        ("id,images\n1\n", "cannot be read as a CSV"),
        ("", "cannot be read as a CSV"),
        (None, "cannot be read as a CSV"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_columns(path, ("id", "images"))
    assert "\n" not in str(caught.value)
