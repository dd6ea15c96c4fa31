"""A foreign pickle, read without running it: an allow list of names, and inert stand-ins for numpy's arrays.

Published ground truth is a pickle of dictionaries, lists, text and arrays. Reading one normally calls whatever it
names; here it may name what such a file needs and nothing else, and even those names stand for functions of this file
that take bytes apart and call nothing. Files of numpy 1 and 2 and of Python 2 and 3 read alike.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bict.errors import DataError

NUMBERS_OR_TEXT = re.compile(r"[<>=|]?([biufSU]\d+|O\d*)")


class StoredArray:
    """An array of a pickle; `items` are its values as Python numbers and strings, row after row."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any] | None = None) -> None:
        self.items = items or []

    def __setstate__(self, state: tuple[Any, Any, _Type, bool, Any]) -> None:
        _, shape, kind, by_column, data = state
        self.items = kind.read(data, shape, by_column=by_column)


class _Type:
    """The type of an array's values and its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: object) -> None:
        if not NUMBERS_OR_TEXT.fullmatch(code):
            raise ValueError(f"an array of type {code}")
        self.code, self.order = code.lstrip("<>=|"), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def read(self, data: Any, shape: Any, *, by_column: bool = False) -> list[Any]:  # noqa: ANN401
        """Values of an array of this shape, row after row."""
        if self.code.startswith("O"):
            return list(data)
        raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
        kind = np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]
        values = np.frombuffer(raw, kind) if raw else np.zeros(0, kind)
        flat = values.reshape(shape, order="F" if by_column else "C").ravel().tolist()
        return [value.decode("latin1") if isinstance(value, bytes) else value for value in flat]


def read_foreign_pickle(path: Path) -> Any:  # noqa: ANN401  (whatever plain values it holds)
    """Dictionaries, lists, text and numbers of a pickle; arrays come as `StoredArray`.

    Raises:
        DataError: the file is damaged, or names something else than plain values and arrays.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="latin1").load()
    except _Refused as error:
        raise DataError(
            f"{path} holds {error}, expected plain values and numpy arrays: it was not opened, fetch it again"
        ) from error
    except Exception as error:  # a damaged pickle fails in as many ways as it has instructions
        raise DataError(f"{path} cannot be read as a pickle ({type(error).__name__}): fetch it again") from error


class _Refused(Exception):
    """A name that is not on the allow list."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        make = ALLOWED.get((module.replace("numpy._core.", "numpy.core."), name))
        if make is None:
            raise _Refused(f"{module}.{name}")
        return lambda *arguments: make(*arguments)  # noqa: PLW0108  (a pickle may set attributes of what it gets)


def _scalar(kind: _Type, data: Any = b"") -> Any:  # noqa: ANN401
    (value,) = kind.read(data, (1,))
    return value


def _from_buffer(data: Any, kind: _Type, shape: Any, order: str) -> StoredArray:  # noqa: ANN401
    return StoredArray(kind.read(data, shape, by_column=order == "F"))


def _encode(text: str, encoding: str) -> bytes:
    """How pickles of old protocols write bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes written as {encoding}")
    return text.encode("latin1")


def _never(*_: object) -> Any:  # noqa: ANN401
    raise ValueError("an array class that is called")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _never,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: StoredArray(),
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",
    ("builtins", "bytes"): lambda: b"",
}
"""What a name of a pickle stands for; no bytes are made by `bytes` in old protocols, but the empty ones."""
