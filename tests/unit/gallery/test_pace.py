import time

import numpy as np
import pyarrow as pa
import pytest
import torch

from bict.gallery import Gallery, pace, stage, staging
from bict.gallery.carrying import Route
from bict.gallery.pace import Pace, find_pace, one_thread_each
from bict.spaces import Space
from bict.transforms import Pairs, Ridge, Transform


def test_slices_hold_every_row_once():
    batch = pa.record_batch({"id": range(25)})
    parts = list(Pace(2, 10).slices(batch))
    assert [len(part) for part in parts] == [10, 10, 5]
    assert [value for part in parts for value in part["id"].to_pylist()] == list(range(25))


def test_products_use_one_thread_only_inside():
    before = torch.get_num_threads()
    with one_thread_each():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_pace_is_found_in_the_time_it_is_given(gallery, linear):
    batch = next(gallery.store.scan(["id", "v1"], 25))
    routes = [Route(gallery.metadata.columns["v1"], linear())]
    started = time.perf_counter()
    found, rate = find_pace(routes, batch, "id", seconds=0.2)
    assert time.perf_counter() - started < 2
    assert found.threads >= 1
    assert found.rows in pace.SLICES
    assert rate > 0


@pytest.mark.parametrize("chosen", [Pace(1, 1024), Pace(3, 2048), Pace(2, 8192)])
def test_no_pace_changes_a_byte(tmp_path, embeddings, monkeypatch, chosen):
    space, new = Space(name="a", fingerprint="1" * 16, dim=40), Space(name="b", fingerprint="2" * 16, dim=24)
    rows = embeddings(5000, space)
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.standard_normal((1, 200, 40), np.float32), rng.standard_normal((1, 200, 24), np.float32))
    transform = Transform(Ridge().fit(pairs), space, new)
    monkeypatch.setattr(staging, "WORTH", 1)
    monkeypatch.setattr(staging, "find_pace", lambda *_: (chosen, 1.0))
    digests = []
    for name, worth in (("a", 10**9), ("b", 1)):
        monkeypatch.setattr(staging, "WORTH", worth)
        gallery = Gallery.create(tmp_path / name, rows, unit_rows=3000)
        stage(gallery, transform)
        digests.append([entry.sha256 for entry in gallery.store.ledger("v2").entries().values()])
    assert digests[0] == digests[1]
