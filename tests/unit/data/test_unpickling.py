from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.data.unpickling import StoredArray, read_foreign_pickle
from bict.errors import DataError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def plain(value):
    """Arrays as lists, recursively."""
    if isinstance(value, StoredArray):
        return value.items
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def write(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_and_arrays_of_every_protocol(tmp_path, protocol):
    content = {
        "names": ["a", "b"],
        "places": np.array([3, 1, 2]),
        "few": np.array([7], np.uint8),
        "none": np.array([], np.int64),
        "box": np.array([1.5, 2, 3, 4]),
        "big-endian": np.array([1, 2], ">i4"),
        "by-column": np.asfortranarray([[1, 2], [3, 4]]),
        "text": np.array(["x", "yz"]),
        "bytes": np.array([b"x", b"yz"]),
        "objects": np.array(["x", None], object),
        "flag": np.array([True, False]),
        "number": np.int64(5),
        "fraction": np.float32(0.5),
        "nested": [(1, 2.5), {"x": None}],
    }
    assert plain(read_foreign_pickle(write(tmp_path / "x.pkl", content, protocol))) == {
        "names": ["a", "b"],
        "places": [3, 1, 2],
        "few": [7],
        "none": [],
        "box": [1.5, 2.0, 3.0, 4.0],
        "big-endian": [1, 2],
        "by-column": [1, 2, 3, 4],
        "text": ["x", "yz"],
        "bytes": ["x", "yz"],
        "objects": ["x", None],
        "flag": [True, False],
        "number": 5,
        "fraction": 0.5,
        "nested": [[1, 2.5], {"x": None}],
    }


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_files_of_numpy_1_read_like_those_of_numpy_2(tmp_path, protocol):
    content = pickle.dumps([np.array([3, 1]), np.int64(5)], protocol=protocol)
    assert b"numpy._core." in content
    (tmp_path / "x.pkl").write_bytes(content.replace(b"numpy._core.", b"numpy.core."))
    assert plain(read_foreign_pickle(tmp_path / "x.pkl")) == [[3, 1], 5]


def test_a_file_of_python_2_reads_its_strings_as_text(tmp_path):
    # pickle.dumps({'easy': numpy.array([1, 2], 'i4'), 'name': 'x\xe9'}, 2) of Python 2.7 with numpy 1.16, by hand
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02i4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x01\x00\x00\x00\x02\x00\x00\x00tb"
    )
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02}(U\x04easy" + array + b"U\x04nameU\x02x\xe9u.")
    assert plain(read_foreign_pickle(tmp_path / "x.pkl")) == {"easy": [1, 2], "name": "xé"}


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Calls(os.system, "touch hacked"), "posix.system"),
        (Calls(eval, "1"), "builtins.eval"),
        (Calls(getattr, "x", "upper"), "builtins.getattr"),
        (Calls(np.load, "x.npy"), "numpy.load"),
        (Calls(np.frombuffer, b"12345678"), "numpy.frombuffer"),
        (Path("x"), "pathlib."),
        ({1, 2}, "builtins.set"),
        (Calls, "Calls"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_any_other_name_is_refused_before_it_is_called(tmp_path, monkeypatch, thing, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "x.pkl", {"gnd": [thing]}, protocol)
    with pytest.raises(DataError) as caught:
        read_foreign_pickle(path)
    assert name in str(caught.value).replace("__builtin__", "builtins")
    assert str(caught.value).endswith("expected plain values and numpy arrays: it was not opened, fetch it again")
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pkl"]


TYPE = b"cnumpy\ndtype\n"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\nndarray\nK\x03\x85R.",  # an array class that is called
        TYPE + b"U\x02V8\x85R.",  # raw memory
        TYPE + b"U\x01q\x85R.",
        EMPTY
        + b"(K\x01J\x00\x00\x00\x7f\x85"
        + TYPE
        + b"U\x02i8\x85R\x89U\x08\x01\x00\x00\x00\x00\x00\x00\x00tb.",  # too few bytes
        b"c_codecs\nencode\nX\x01\x00\x00\x00xX\x03\x00\x00\x00zip\x86R.",  # another codec
        b"cbuiltins\nbytes\nJ\x00\x00\x00\x7f\x85R.",  # two gibibytes of zeros
        b"cnumpy.core.multiarray\nscalar\n" + TYPE + b"U\x02i8\x85RU\x02xx\x86R.",
        b"Pid\n.",  # a persistent id
        b"",
        b"not a pickle",
        b"\x80\x09.",
        b"U\x05ab",
    ],
)
def test_a_hostile_or_damaged_pickle_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pkl cannot be read as a pickle \(\w+\): fetch it again$") as caught:
        read_foreign_pickle(tmp_path / "x.pkl")
    assert "\n" not in str(caught.value)


def test_a_pickle_cannot_change_how_the_next_one_is_read(tmp_path):
    """Attributes may be set on whatever a name stands for."""
    setting = TYPE + b"N}U\x0c__defaults__K\x05\x85s\x86b."
    assert "BUILD" in [code.name for code, _, _ in pickletools.genops(setting)]
    (tmp_path / "x.pkl").write_bytes(setting)
    read_foreign_pickle(tmp_path / "x.pkl")
    assert plain(read_foreign_pickle(write(tmp_path / "y.pkl", np.arange(3)))) == [0, 1, 2]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), protocol=st.sampled_from([0, 2, 4, 5]))
def test_a_damaged_pickle_is_read_or_refused(tmp_path_factory, data, protocol):
    content = bytearray(pickle.dumps({"imlist": ["a"], "gnd": [np.arange(3), np.float64(1.5)]}, protocol=protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(content)
    try:
        read_foreign_pickle(path)
    except DataError as error:
        assert "\n" not in str(error)
