from __future__ import annotations

import inspect
import pickle
import re

import pytest

from bict import errors
from bict.errors import BictError, MissingExtra, SettingsError, UnknownName

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BictError)]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    parents, drawn = ["BictError"], {}
    for indent, name in re.findall(r"^((?:│   )*)[├└]── (\w+)", errors.__doc__, re.MULTILINE):
        depth = len(indent) // 4
        parents[depth + 1 :] = [name]
        drawn[name] = parents[depth]
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in CLASSES if kind is not BictError}


def test_mistakes_in_the_command_exit_with_two_and_refusals_with_one():
    usage = {kind for kind in CLASSES if kind.exit_code == 2}
    assert usage == {UnknownName, SettingsError, MissingExtra}
    assert all(kind.exit_code == 1 for kind in set(CLASSES) - usage)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("rigde", "unknown rung 'rigde': did you mean 'ridge'? (identity, mlp, ridge)"),
        ("xyz", "unknown rung 'xyz': valid: (identity, mlp, ridge)"),
        ("", "unknown rung '': valid: (identity, mlp, ridge)"),
        ("two\nlines", "unknown rung 'two\\nlines': valid: (identity, mlp, ridge)"),
    ],
)
def test_an_unknown_name_gives_the_nearest_and_all_valid_ones(found, message):
    assert str(UnknownName("rung", found, {"ridge": 1, "mlp": 2, "identity": 3})) == message


def test_an_unknown_name_where_none_is_valid():
    assert str(UnknownName("gallery column", "x", [])) == "unknown gallery column 'x': valid: ()"


def test_a_missing_extra_names_the_install_line():
    assert str(MissingExtra("qdrant-client", "qdrant")) == "qdrant-client is not installed: pip install 'bict[qdrant]'"


@pytest.mark.parametrize("error", [UnknownName("flag", "sead", ["seed"]), MissingExtra("ray", "ray")])
def test_errors_survive_the_way_to_another_process(error: BictError):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    assert (type(again), str(again)) == (type(error), str(error))
