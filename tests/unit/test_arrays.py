from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.arrays import read_arrays


def test_arrays_come_back_by_name(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.arange(3), b=np.array(["x", "yz"]))
    arrays = read_arrays(tmp_path / "x.npz")
    assert sorted(arrays) == ["a", "b"]
    assert arrays["a"].tolist() == [0, 1, 2]
    assert arrays["b"].tolist() == ["x", "yz"]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY"])
def test_what_is_no_archive_is_a_value_error(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match="no readable archive of arrays"):
        read_arrays(tmp_path / "x.npz")


def test_a_single_array_is_no_archive(tmp_path):
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match="no readable archive of arrays"):
        read_arrays(tmp_path / "x.npz")


def test_pickled_objects_are_not_read(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{}, None], dtype=object))
    with pytest.raises(ValueError, match="no readable archive of arrays"):
        read_arrays(tmp_path / "x.npz")


def test_an_absent_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "x.npz")


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_read_or_a_value_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez_compressed(path, a=np.arange(50), b=np.array(["x", "yz"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    refusal = ""
    try:
        read_arrays(path)
    except ValueError as error:
        refusal = str(error)
    assert "\n" not in refusal
