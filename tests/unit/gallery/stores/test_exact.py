import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.errors import UnknownName
from bict.gallery.stores.exact import exact_search

small = st.integers(-2, 2)  # few values, so that ties are common


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(small, small), min_size=1, max_size=30),
    queries=st.lists(st.tuples(small, small), min_size=1, max_size=4),
    k=st.integers(1, 12),
    batch=st.integers(1, 9),
)
def test_any_split_into_batches_gives_the_stable_order_of_the_whole(rows, queries, k, batch):
    gallery, asked = np.array(rows, np.float32), np.array(queries, np.float32)
    ids = np.array([f"r{row}" for row in range(len(rows))])
    starts = range(0, len(rows), batch)
    batches = [(ids[start : start + batch], gallery[start : start + batch]) for start in starts]
    for metric, scores in (
        ("dot", asked @ gallery.T),
        ("l2", -((asked[:, None] - gallery[None]) ** 2).sum(2)),
    ):
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        hits = exact_search(iter(batches), asked, k, metric, rows=len(rows))
        assert hits.ids.tolist() == ids[order].tolist()
        np.testing.assert_array_equal(hits.scores, np.take_along_axis(scores, order, 1))


def test_squared_distances_of_far_away_vectors_keep_their_digits():
    gallery = np.array([[1000.0, 1000.0], [1000.0, 1000.25]], np.float32)
    hits = exact_search([(np.array([1, 2]), gallery)], gallery[:1], 2, "l2", rows=2)
    assert hits.scores.tolist() == [[0.0, -0.0625]]


def test_an_unknown_metric_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'cosine'"):
        exact_search([], np.ones((1, 2), np.float32), 1, "cosin", rows=0)
