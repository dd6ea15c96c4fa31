from __future__ import annotations

import numpy as np
import pytest
from tests.unit.assessment.made import space, world

from bict.assessment.candidates import (
    BACKFILL,
    CONTROL,
    OLD,
    UPGRADES,
    Rows,
    Sides,
    Way,
    candidates,
    fit_way,
    fusible,
    way,
)
from bict.errors import SpaceError, UnknownName
from bict.progress import silent
from bict.transforms import BRIDGES, QueryBridge, Transform


@pytest.fixture(scope="module")
def rows():
    pairs = world()
    return Rows.of(pairs, np.arange(len(pairs.ids)))


def test_the_ladder_and_every_bridge_are_tried_and_heads_need_labels():
    names = [one.name for one in candidates((), labelled=True)]
    assert names == [*UPGRADES, *(f"bridge-{form}" for form in BRIDGES), "old-head"]
    assert set(names) - {one.name for one in candidates((), labelled=False)} == {"bridge-head", "old-head"}
    assert candidates(("bridge-mlp", "ridge", "ridge"), labelled=False) == [way("bridge-mlp"), way("ridge")]
    with pytest.raises(UnknownName, match="bridge-mpl"):
        candidates(("bridge-mpl",), labelled=True)


def test_a_way_is_served_by_what_it_stores_and_asks(rows):
    query, gallery = rows.take(np.arange(0, 240, 4)), rows.take(np.arange(1, 240, 4))
    sides = Sides(query, gallery)
    psi = fit_way(way("ridge"), rows, seed=0, progress=silent)
    bridge = fit_way(way("bridge-procrustes"), rows, seed=0, progress=silent)
    assert isinstance(psi, Transform)
    assert isinstance(bridge, QueryBridge)
    assert sides.serve(OLD, None) == (query.old, gallery.old)
    assert sides.serve(BACKFILL, None) == (query.new, gallery.new)
    asked, stored = sides.serve(way("ridge"), psi)
    assert asked is query.new
    np.testing.assert_array_equal(stored.vectors, psi.apply(gallery.old).vectors)
    asked, stored = sides.serve(way("bridge-procrustes"), bridge)
    np.testing.assert_array_equal(asked.vectors, bridge.apply(query.new).vectors)
    assert stored is gallery.old


def test_a_head_is_compared_with_one_on_the_old_model(rows):
    head, control = candidates(("bridge-head",), labelled=True)
    assert (head.kind, control) == ("head", CONTROL)
    sides = Sides(rows.take(np.arange(0, 240, 4)), rows.take(np.arange(1, 240, 4)))
    for way_, side in ((head, sides.query.new), (control, sides.query.old)):
        fitted = fit_way(way_, rows, seed=0, progress=silent)
        asked, stored = sides.serve(way_, fitted)
        np.testing.assert_array_equal(asked.vectors, fitted.apply(side).vectors)
        assert stored is sides.gallery.old


def test_fused_scores_are_the_mean_of_both(rows):
    sides = Sides(rows.take(np.arange(5)), rows.take(np.arange(5, 20)))
    psi = fit_way(way("ridge"), rows, seed=0, progress=silent)
    query, gallery = sides.serve(Way("fused-ridge", "fuse", "ridge"), psi)
    old = sides.query.old.vectors @ sides.gallery.old.vectors.T
    new = sides.query.new.vectors @ psi.apply(sides.gallery.old).vectors.T
    np.testing.assert_allclose(query.vectors @ gallery.vectors.T, (old + new) / 2, atol=1e-6)


def test_only_cosines_can_be_fused():
    pairs = world()
    assert fusible(pairs)
    long = {"metric": "dot", "normalised": False}
    object.__setattr__(pairs, "old_space", space("old", 24, **long))
    assert not fusible(pairs)


def test_a_fitted_way_refuses_the_other_side(rows):
    psi = fit_way(way("ridge"), rows, seed=0, progress=silent)
    with pytest.raises(SpaceError):
        psi.apply(rows.new)
