import numpy as np
import pytest

from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError
from bict.gallery import Gallery, plan
from bict.gallery import forecast as module
from bict.gallery.forecast import forecast
from bict.gallery.pace import Pace


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, rows in (("FIRST", 1500), ("LEAST", 3000), ("MOST", 3000), ("UNIT_ROWS", 1000)):
        monkeypatch.setattr(module, name, rows)


def everything(gallery):
    return sorted(path for path in gallery.store.reach().paths[0].rglob("*"))


def test_a_forecast_grows_with_rows_and_falls_with_workers_and_leaves_nothing(gallery, linear):
    before = everything(gallery)
    found = forecast(gallery, linear(), 10**9, pace=Pace(), workers=64)
    assert everything(gallery) == before
    assert found.trial_rows == 4500
    assert (found.bytes_to_read, found.bytes_to_write) == (10**9 * 4 * 4, 10**9 * 6 * 4)
    assert found.bytes_per_second == pytest.approx(found.rows_per_second * (4 + 6) * 4)
    assert found.stage_seconds == pytest.approx(10**9 / found.rows_per_second, rel=0.5, abs=10)
    assert found.seconds == found.stage_seconds + found.verify_seconds + found.index_seconds
    fewer = forecast(gallery, linear(), 10**9, pace=Pace(), workers=1)
    assert fewer.rows_per_second < found.rows_per_second


def test_a_trial_that_fails_leaves_nothing(gallery, linear):
    before = everything(gallery)

    def fails(_rows):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        forecast(gallery, linear(before=fails), 100, pace=Pace())
    assert everything(gallery) == before


@pytest.mark.parametrize("asked", [{"rows": 0}, {"rows": 5, "workers": 0}])
def test_no_rows_and_no_workers_are_refused(gallery, linear, asked):
    with pytest.raises(SettingsError, match="expected at least 1"):
        plan(gallery, linear(), **asked)


def test_a_plan_has_a_forecast_where_one_is_asked_for(gallery, linear):
    assert plan(gallery, linear()).forecast is None
    told = []
    found = plan(gallery, linear(), workers=2, progress=lambda done, total: told.append((done, total))).forecast
    assert (found.rows, found.workers) == (25, 2)
    assert told == [(1, 2), (2, 2)]


def test_a_plan_says_how_many_neighbours_rounding_leaves(tmp_path, embeddings, linear):
    gallery = Gallery.create(tmp_path / "g", embeddings(200))

    class Rounded(linear):
        exact = linear()
        digits = 1

        def apply(self, embeddings):
            out = super().apply(embeddings)
            return Embeddings(out.ids, normalise(np.round(out.vectors, self.digits)), out.space)

    class Unchanged(Rounded):
        digits = 7

    assert plan(gallery, linear()).kept_neighbours is None
    assert plan(gallery, Unchanged()).kept_neighbours == 1
    assert 0.3 < plan(gallery, Rounded()).kept_neighbours < 1
