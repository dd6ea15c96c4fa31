"""A forecast on every store: it leaves nothing of its trials behind."""

from __future__ import annotations

import numpy as np
import pytest

from bict.embeddings import Embeddings, normalise
from bict.gallery import Gallery
from bict.gallery import forecast as trials
from bict.gallery.pace import Pace
from bict.gallery.stores import STORES
from bict.spaces import Space
from bict.transforms import Pairs, Ridge, Transform

OLD, NEW = Space(name="old", fingerprint="a" * 16, dim=4), Space(name="new", fingerprint="b" * 16, dim=6)


def unit(rows, dim, seed=0):
    return normalise(np.random.default_rng(seed).standard_normal((rows, dim), np.float32))


def things(gallery):
    """Tables and functions of a database, files of a folder."""
    if gallery.address.startswith("postgresql"):
        query = "SELECT relname FROM pg_class WHERE relkind = 'r' UNION ALL SELECT proname FROM pg_proc"
        return sorted(gallery.store._link.rows("looking", query, ()))
    return sorted(path for folder in gallery.store.reach().paths for path in folder.rglob("*"))


@pytest.mark.parametrize("store", [*sorted(set(STORES) - {"qdrant"}), "lance over s3", "qdrant over http"])
def test_a_forecast_leaves_nothing_behind(store, store_addresses, monkeypatch):
    for name, rows in (("FIRST", 1100), ("LEAST", 1500), ("MOST", 1500), ("UNIT_ROWS", 1000)):
        monkeypatch.setattr(trials, name, rows)
    gallery = Gallery.create(store_addresses(store), Embeddings(np.arange(30), unit(30, 4), OLD))
    transform = Transform(Ridge().fit(Pairs(unit(40, 4)[None], unit(40, 6, 1)[None])), OLD, NEW)
    trials.forecast(gallery, transform, 10, pace=Pace())  # makes bict's own tables, where there are none
    before = things(gallery)
    for workers in (None, 4):
        found = trials.forecast(gallery, transform, 10**6, pace=Pace(), workers=workers)
        assert found.stage_seconds > 0
    assert things(gallery) == before
    assert len(gallery) == 30
