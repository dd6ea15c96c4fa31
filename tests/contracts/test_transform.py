"""What every rung of the ladder promises, whatever it learns."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from bict.transforms import RUNGS, Pairs, Rung, build_rung

SETTINGS = {
    "lambda-orthogonal": {"steps": 20},
    "drift-mlp": {"epochs": 3, "hidden": 16, "batch": 32},
    "mlp": {"epochs": 3, "hidden": 16, "batch": 32, "dropout": 0.1, "noise": 0.1},
    "fct": {"epochs": 4, "inner": 16, "batch": 32, "side_dim": 1},
    "fastfill": {"epochs": 4, "inner": 16, "batch": 32},
    "head": {"epochs": 3, "hidden": 16, "batch": 32},
}
DIMS = [(6, 6), (4, 9), (9, 4)]


def make_pairs(old_dim: int, new_dim: int, images: int = 80, views: int = 2) -> Pairs:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(views, images, old_dim))
    new = old @ rng.normal(size=(old_dim, new_dim)) + 0.1 * rng.normal(size=(views, images, new_dim))
    return Pairs(old, new, np.arange(images) % 20, rng.normal(size=(20, new_dim)))


CASES = [(name, *dims) for name in RUNGS for dims in DIMS if name != "identity" or dims[0] == dims[1]]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}to{case[2]}")
def case(request) -> tuple[str, Pairs]:
    name, old_dim, new_dim = request.param
    return name, make_pairs(old_dim, new_dim)


def build(name: str) -> Rung:
    return build_rung(name, SETTINGS.get(name))


def test_fit_returns_self_and_transform_gives_contiguous_float32(case):
    name, pairs = case
    rung = build(name)
    assert rung.fit(pairs) is rung
    mapped = rung.transform(pairs.old[0])
    assert mapped.shape == pairs.new[0].shape
    assert mapped.dtype == np.float32
    assert mapped.flags["C_CONTIGUOUS"]
    assert np.isfinite(mapped).all()


def test_state_and_settings_make_the_same_rung_again(case):
    name, pairs = case
    rung = build(name).fit(pairs)
    state, settings = rung.state(), json.loads(json.dumps(rung.settings()))
    again = type(rung).from_state({key: array.copy() for key, array in state.items()}, settings)
    assert again.settings() == rung.settings()
    assert again.state().keys() == state.keys()
    for key, array in again.state().items():
        assert array.dtype == state[key].dtype
        np.testing.assert_array_equal(array, state[key])
    np.testing.assert_array_equal(again.transform(pairs.old[0]), rung.transform(pairs.old[0]))


def test_settings_are_the_keywords_of_the_constructor(case):
    rung = build(case[0])
    assert list(rung.settings()) == list(inspect.signature(type(rung)).parameters)
    assert type(rung)(**rung.settings()).settings() == rung.settings()


@pytest.mark.parametrize("size", [1, 7, 80])
def test_each_row_is_mapped_by_itself(case, size):
    name, pairs = case
    rung, old = build(name).fit(pairs), pairs.old[0]
    parts = [rung.transform(old[start : start + size]) for start in range(0, len(old), size)]
    np.testing.assert_allclose(np.concatenate(parts), rung.transform(old), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(rung.transform(old[::-1])[::-1], rung.transform(old), rtol=1e-5, atol=1e-5)


def test_no_rows_give_no_rows(case):
    name, pairs = case
    assert build(name).fit(pairs).transform(pairs.old[0, :0]).shape == (0, pairs.new.shape[2])


def test_two_fits_agree_bit_for_bit(case):
    name, pairs = case
    first, second = build(name).fit(pairs).state(), build(name).fit(pairs).state()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_a_second_fit_forgets_the_first(case):
    name, pairs = case
    other = Pairs(pairs.old[:, ::-1], pairs.new, pairs.labels)
    refitted, fresh = build(name).fit(other).fit(pairs).state(), build(name).fit(pairs).state()
    for key in fresh:
        np.testing.assert_array_equal(refitted[key], fresh[key])


def test_neither_fit_nor_transform_writes_into_its_input(case):
    name, pairs = case
    before = pairs.old.copy(), pairs.new.copy()
    old = pairs.old[0].copy()
    old.flags.writeable = False
    rung = build(name).fit(pairs)
    mapped = rung.transform(old)
    assert not np.shares_memory(mapped, old)
    np.testing.assert_array_equal(pairs.old, before[0])
    np.testing.assert_array_equal(pairs.new, before[1])


def test_what_was_learned_ends_in_an_underscore(case):
    name, pairs = case
    rung = build(name)
    before = set(vars(rung))
    learned = set(vars(rung.fit(pairs))) - before
    assert all(attribute.endswith("_") for attribute in learned)
    assert bool(learned) == bool(rung.state())
