from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError, SpaceError, TransformError, UnknownName, VectorError
from bict.spaces import Space
from bict.transforms import BRIDGES, Pairs, QueryBridge, Transform, fit_bridge, slerp

OLD = Space(name="old", fingerprint="a" * 16, dim=3)
LONG = Space(name="long", fingerprint="a" * 16, dim=3, normalised=False)


@pytest.fixture
def bridge(rotated, spaces) -> QueryBridge:
    old, new = spaces()
    return fit_bridge(rotated(), new, old, form="procrustes", seed=0)


def queries(rows: list[list[float]] | np.ndarray, space: Space = OLD, ids: list[str] | None = None) -> Embeddings:
    rows = np.array(rows, np.float32)
    rows = normalise(rows) if space.normalised else rows
    return Embeddings(np.array(ids or [f"q{row}" for row in range(len(rows))]), rows, space)


@pytest.mark.parametrize("form", BRIDGES)
def test_every_form_finds_the_way_back_of_a_rotation(rotated, spaces, form):
    pairs, (old, new) = rotated(per_class=20), spaces()
    bridge = fit_bridge(pairs, new, old, form=form, seed=0)
    bridged = bridge.apply(Embeddings(np.arange(240), pairs.new[0], new))
    assert bridged.space == old
    cosines = (bridged.vectors * pairs.old[0]).sum(1)
    assert cosines.mean() > {"low-rank": 0.7, "mlp": 0.999}.get(form, 0.9999)
    assert bridge.rung.name == BRIDGES[form].name
    assert bridge.data_hash == pairs.digest()


@pytest.mark.parametrize("form", BRIDGES)
@pytest.mark.parametrize("dims", [(4, 6), (6, 4)])
def test_sides_of_unequal_dimension(spaces, form, dims):
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1, 60, dims[0]))
    pairs = Pairs(normalise(old[0])[None], normalise(old[0] @ rng.normal(size=dims))[None], np.arange(60) % 6)
    space, new = spaces(*dims)
    bridged = fit_bridge(pairs, new, space, form=form).apply(Embeddings(np.arange(60), pairs.new[0], new))
    assert bridged.vectors.shape == (60, dims[0])


def test_old_vectors_are_refused_and_the_swap_is_named_although_dimensions_agree(bridge, rotated):
    with pytest.raises(SpaceError, match=r"direction looks swapped: found vectors of old .* takes new queries of new"):
        bridge.apply(Embeddings(np.arange(120), rotated().old[0], bridge.target))


@pytest.mark.parametrize("change", [{"fingerprint": "c" * 16}, {"metric": "l2"}])
def test_queries_of_another_space_of_the_same_dimension_are_refused(bridge, rotated, change):
    other = Space(**bridge.source.model_dump() | change)
    with pytest.raises(SpaceError, match=r"this query bridge maps new queries: .* expected new"):
        bridge.apply(Embeddings(np.arange(120), rotated().new[0], other))


@pytest.mark.parametrize("form", BRIDGES)
def test_save_and_load(rotated, spaces, tmp_path, form):
    pairs, (old, new) = rotated(), spaces()
    bridge = fit_bridge(pairs, new, old, form=form, seed=3)
    loaded = QueryBridge.load(bridge.save(tmp_path))
    assert isinstance(loaded, QueryBridge)
    assert loaded.card() == bridge.card()
    asked = Embeddings(np.arange(120), pairs.new[0], new)
    np.testing.assert_array_equal(loaded.apply(asked).vectors, bridge.apply(asked).vectors)


def test_seed_goes_to_the_form(rotated, spaces):
    old, new = spaces()
    assert fit_bridge(rotated(), new, old, form="low-rank", seed=5).rung.settings()["seed"] == 5


def test_what_cannot_be_bridged(rotated, spaces):
    pairs, (old, new) = rotated(), spaces()
    with pytest.raises(UnknownName, match="unknown bridge 'procrusts': did you mean 'procrustes'"):
        fit_bridge(pairs, new, old, form="procrusts")
    with pytest.raises(TransformError, match=r"old vectors have 8 dimensions, their space old \(9-d"):
        fit_bridge(pairs, new, spaces(9, 8)[0], form="procrustes")
    with pytest.raises(VectorError, match="not of unit length"):
        fit_bridge(Pairs(2 * pairs.old, pairs.new), new, old, form="procrustes")


def test_a_bridge_is_no_transform(bridge):
    assert not isinstance(bridge, Transform)
    assert bridge.direction == "new queries -> old space"


def test_slerp_by_hand():
    old, bridged = queries([[1, 0, 0], [1, 0, 0]]), queries([[0, 1, 0], [-0.5, np.sqrt(3) / 2, 0]])
    third = slerp(old, bridged, 1 / 3).vectors
    expected = [[np.cos(np.pi / 6), 0.5, 0], [np.cos(np.pi * 2 / 9), np.sin(np.pi * 2 / 9), 0]]
    np.testing.assert_allclose(third, expected, atol=1e-6)
    np.testing.assert_allclose(slerp(old, bridged).vectors[0], [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0, 1), nearness=st.sampled_from([2, 1, 1e-2, 1e-5, 1e-8, 0]))
def test_slerp_stays_on_the_sphere_at_the_share_of_the_angle(seed, alpha, nearness):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(5, 3))
    for sign in (1, -1):
        old, bridged = queries(start), queries(sign * start + nearness * rng.normal(size=(5, 3)))
        u, v = old.vectors.astype(float), bridged.vectors.astype(float)
        mixed = slerp(old, bridged, alpha).vectors.astype(float)
        np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-5)
        angles = [
            2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
            for a, b in ((u, v), (u, mixed))
        ]
        np.testing.assert_allclose(angles[1], alpha * angles[0], atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0, 1))
def test_slerp_equals_the_equation_and_is_the_same_from_the_other_end(seed, alpha):
    rng = np.random.default_rng(seed)
    old, bridged = queries(rng.normal(size=(5, 3))), queries(rng.normal(size=(5, 3)))
    u, v = old.vectors.astype(float), bridged.vectors.astype(float)
    angle = np.arccos((u * v).sum(1, keepdims=True))
    assume(angle.max() < 3 and angle.min() > 0.05)  # near its poles the equation itself loses the digits of float32
    expected = (np.sin((1 - alpha) * angle) * u + np.sin(alpha * angle) * v) / np.sin(angle)
    np.testing.assert_allclose(slerp(old, bridged, alpha).vectors, expected, atol=1e-4)
    np.testing.assert_allclose(slerp(bridged, old, 1 - alpha).vectors, expected, atol=1e-4)


def test_slerp_ends_are_the_two_queries_also_where_they_are_opposite_or_equal():
    old = queries([[1, 2, 2], [0, 0, 1], [1, 1, 0], [0, 0, 1]])
    bridged = queries([[-1, -2, -2], [0, 0, 1], [0, 3, 1], [0, 0, -1]])
    np.testing.assert_allclose(slerp(old, bridged, 0).vectors, old.vectors, atol=1e-6)
    np.testing.assert_allclose(slerp(old, bridged, 1).vectors, bridged.vectors, atol=1e-6)
    halfway = slerp(old, bridged, 0.5).vectors
    assert np.abs((halfway * old.vectors).sum(1)[[0, 3]]).max() < 1e-6
    np.testing.assert_allclose(halfway[1], [0, 0, 1], atol=1e-6)


def test_slerp_keeps_ids_labels_and_space_and_interpolates_lengths_where_they_count():
    old, bridged = queries([[2, 0, 0]], LONG), queries([[0, 6, 0]], LONG)
    labelled = Embeddings(old.ids, old.vectors, LONG, np.array(["cat"]))
    mixed = slerp(labelled, bridged, 0.5)
    assert (mixed.ids.tolist(), mixed.labels.tolist(), mixed.space) == (["q0"], ["cat"], LONG)
    np.testing.assert_allclose(mixed.vectors, [[np.sqrt(8), np.sqrt(8), 0]], rtol=1e-6)


def test_slerp_refuses_other_ids_other_orders_other_spaces_and_shares_outside_0_to_1():
    old = queries([[1, 0, 0], [0, 1, 0]])
    for ids in (["q0", "q2"], ["q1", "q0"]):
        with pytest.raises(VectorError, match="different ids"):
            slerp(old, queries([[1, 0, 0], [0, 1, 0]], ids=ids))
    with pytest.raises(VectorError, match="different ids"):
        slerp(old, queries([[1, 0, 0]]))
    with pytest.raises(SpaceError, match="slerp"):
        slerp(old, queries([[1, 0, 0], [0, 1, 0]], Space(name="new", fingerprint="b" * 16, dim=3)))
    for alpha in (-0.1, 1.1, np.nan):
        with pytest.raises(SettingsError, match="alpha must lie between 0 and 1"):
            slerp(old, old, alpha)
