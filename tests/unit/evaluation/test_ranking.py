from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bict.embeddings import Embeddings, normalise
from bict.errors import SettingsError, SpaceError, VectorError
from bict.evaluation.ranking import Listed, PositiveRanks, nearest, positive_ranks
from bict.spaces import Space

DOT = {"metric": "dot", "normalised": False}
COSINE = {"metric": "cosine", "normalised": False}
L2 = {"metric": "l2", "normalised": False}


def embeddings(vectors, labels=None, ids=None, first_id=0, **space):
    vectors = np.asarray(vectors, np.float32)
    space = Space(**{"name": "test", "fingerprint": "a" * 16, "dim": vectors.shape[1]} | space)
    ids = np.arange(first_id, first_id + len(vectors)) if ids is None else np.asarray(ids)
    return Embeddings(ids, vectors, space, labels)


def random_pair(seed, *, queries, gallery, dim, classes, metric="dot", grid=None):
    """Two sides with own ids 0.. and 1000..; on a coarse grid many similarities are equal."""
    rng = np.random.default_rng(seed)
    sides = []
    for rows, first_id in ((queries, 1000), (gallery, 0)):
        vectors = rng.standard_normal((rows, dim)) if grid is None else rng.integers(-grid, grid + 1, (rows, dim))
        vectors[~vectors.any(axis=1)] = 1
        labels = rng.integers(0, classes, rows)
        sides.append(embeddings(vectors, labels, first_id=first_id, metric=metric, normalised=False))
    return sides


def slow_similarity(a, b, metric):
    a, b = [float(x) for x in a], [float(x) for x in b]
    product = sum(x * y for x, y in zip(a, b, strict=True))
    if metric == "dot":
        return product
    if metric == "cosine":
        return product / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    return -sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def slow_order(query, gallery, exclude_self=True):
    """Gallery rows of each query, most similar first, then by row: Python sorts only."""
    orders = []
    for q, id_ in zip(query.vectors, query.ids.tolist(), strict=True):
        rows = [j for j, other in enumerate(gallery.ids.tolist()) if not (exclude_self and other == id_)]
        similarity = {j: np.float32(slow_similarity(q, gallery.vectors[j], gallery.space.metric)) for j in rows}
        orders.append(sorted(rows, key=lambda j: (-similarity[j], j)))
    return orders


def slow_ranks(query, gallery, exclude_self=True):
    return [
        [place for place, j in enumerate(order, 1) if gallery.labels[j] == label]
        for order, label in zip(slow_order(query, gallery, exclude_self), query.labels, strict=True)
    ]


def as_lists(ranks: PositiveRanks):
    return [ranks.values[a:b].tolist() for a, b in zip(ranks.offsets[:-1], ranks.offsets[1:], strict=True)]


def test_hand_worked_ranking():
    # similarities to query (1, 0): row 0 -> .2, row 1 -> .9, row 2 -> -.5, row 3 -> .4: order 1, 3, 0, 2
    # "cat" rows are 0 and 3: ranks 3 and 2. To query (-1, 0) the order is 2, 0, 3, 1: "dog" rows 1, 2: ranks 4, 1.
    gallery = embeddings([[0.2, 1], [0.9, 1], [-0.5, 1], [0.4, 1]], ["cat", "dog", "dog", "cat"], **DOT)
    query = embeddings([[1, 0], [-1, 0]], ["cat", "dog"], first_id=10, **DOT)
    ranks = positive_ranks(query, gallery)
    assert as_lists(ranks) == [[2, 3], [1, 4]]
    assert ranks.counts.tolist() == [2, 2]
    assert (len(ranks), ranks.gallery_size, ranks.values.dtype) == (2, 4, np.int64)
    rows, similarity = nearest(query, gallery, 3)
    assert rows.tolist() == [[1, 3, 0], [2, 0, 3]]
    np.testing.assert_array_equal(similarity, np.float32([[0.9, 0.4, 0.2], [0.5, -0.2, -0.4]]))


def test_each_metric_ranks_its_own_way():
    # query (1, 0); a = (3, 3): dot 3, cosine .71, l2 -13; b = (.5, 0): dot .5, cosine 1, l2 -.25;
    # c = (1, .5): dot 1, cosine .89, l2 -.25
    vectors = [[3, 3], [0.5, 0], [1, 0.5]]
    expected = {"dot": [0, 2, 1], "cosine": [1, 2, 0], "l2": [1, 2, 0]}  # l2: b and c tie, the lower row first
    values = {"dot": [3, 1, 0.5], "cosine": [1, 0.8944272, 0.70710677], "l2": [-0.25, -0.25, -13]}
    for metric, order in expected.items():
        gallery = embeddings(vectors, metric=metric, normalised=False)
        query = embeddings([[1, 0]], first_id=10, metric=metric, normalised=False)
        rows, similarity = nearest(query, gallery, 3)
        assert rows.tolist() == [order]
        np.testing.assert_array_equal(similarity, np.float32([values[metric]]))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("grid", [None, 1])
def test_agrees_with_slow_reference(metric, grid):
    for seed in range(5):
        query, gallery = random_pair(seed, queries=9, gallery=40, dim=3, classes=6, metric=metric, grid=grid)
        if metric == "cosine" and grid:
            continue  # a cosine of grid vectors is irrational: Python and numpy may round a tie differently
        assert as_lists(positive_ranks(query, gallery)) == slow_ranks(query, gallery)
        rows, _ = nearest(query, gallery, 40)
        assert rows.tolist() == slow_order(query, gallery)


@pytest.mark.parametrize("memory_mb", [1, 256])
def test_listed_rows_rank_as_labelled_ones(memory_mb, monkeypatch):
    monkeypatch.setattr("bict.evaluation.ranking.TILE", 32)
    query, gallery = random_pair(3, queries=30, gallery=50, dim=4, classes=7)
    rows = [np.flatnonzero(gallery.labels == label) for label in query.labels]
    listed = Listed(np.concatenate(rows), np.concatenate([[0], np.cumsum([len(found) for found in rows])]))
    expected = as_lists(positive_ranks(query, gallery))
    unlabelled = [Embeddings(side.ids, side.vectors, side.space) for side in (query, gallery)]
    assert as_lists(positive_ranks(*unlabelled, relevant=listed, memory_mb=memory_mb)) == expected


def test_listed_rows_leave_the_own_row_and_empty_lists_out():
    gallery = embeddings([[1, 0], [0.5, 1], [0, 1]], **DOT)
    query = embeddings([[1, 0], [0, 1]], **DOT)  # ids 0 and 1: rows of the gallery
    ranks = positive_ranks(query, gallery, relevant=Listed(np.array([0, 2]), np.array([0, 2, 2])))
    assert as_lists(ranks) == [[2], []]  # row 0 is the query itself; of rows 1, 2 row 2 comes last


def test_normalised_l2_space_reports_dot_products():
    vectors = normalise(np.float32([[1, 0], [1, 1]]))
    rows, similarity = nearest(
        embeddings(vectors[:1], first_id=5, metric="l2"), embeddings(vectors, metric="l2"), 2, exclude_self=False
    )
    assert rows.tolist() == [[0, 1]]
    np.testing.assert_allclose(similarity, [[1, 0.70710677]])


def test_ties_rank_the_lower_gallery_row_first():
    # all rows are equal: the ranking is the gallery's order, so the ranks of label "b" are its rows + 1
    gallery = embeddings(np.ones((7, 3)), list("abababb"), **COSINE)
    query = embeddings(np.ones((2, 3)), ["b", "a"], first_id=100, **COSINE)
    assert as_lists(positive_ranks(query, gallery)) == [[2, 4, 6, 7], [1, 3, 5]]
    for k in range(1, 8):
        assert nearest(query, gallery, k)[0].tolist() == [list(range(k))] * 2


@pytest.mark.parametrize("space", [DOT, COSINE, L2])
def test_equal_vectors_tie_wherever_they_lie(space):
    # 2,000 distinct rows, each stored again 2,000 rows later: the copy must follow the first, never precede it
    vectors = np.random.default_rng(0).standard_normal((2000, 37))
    gallery = embeddings(np.tile(vectors, (2, 1)), **space)
    rows, similarity = nearest(embeddings(vectors[:50] + 1, first_id=9999, **space), gallery, 4000)
    place = np.argsort(rows, axis=1)
    assert (place[:, :2000] < place[:, 2000:]).all()
    by_row = np.take_along_axis(similarity, place, axis=1)
    np.testing.assert_array_equal(by_row[:, :2000], by_row[:, 2000:])


def test_zero_of_either_sign_ties():
    # the dot products -1e-50, 1e-50 and 0 are -0, 0 and 0 in float32, one similarity: the order is the gallery's
    gallery = embeddings([[-1e-30, 1], [1e-30, 1], [0, 1]], **DOT)
    rows, _ = nearest(embeddings([[1e-20, 0]], first_id=10, **DOT), gallery, 3)
    assert rows.tolist() == [[0, 1, 2]]


def test_self_is_excluded_by_id_only():
    # query 7 is gallery row 1; rows 0 and 2 hold the same vector and the same label under other ids, and stay
    gallery = embeddings([[1, 0], [1, 0], [1, 0]], ["x", "x", "x"], ids=[5, 7, 9])
    query = embeddings([[1, 0]], ["x"], ids=[7])
    assert as_lists(positive_ranks(query, gallery)) == [[1, 2]]
    assert as_lists(positive_ranks(query, gallery, exclude_self=False)) == [[1, 2, 3]]
    assert nearest(query, gallery, 2)[0].tolist() == [[0, 2]]
    assert nearest(query, gallery, 2, exclude_self=False)[0].tolist() == [[0, 1]]


def test_excluded_self_of_another_label_moves_later_rows_up():
    # order: own row (label y), then row 1 (label x): without the own row, x is first
    gallery = embeddings([[1, 0], [0.6, 0.8]], ["y", "x"], ids=["me", "other"])
    query = embeddings([[1, 0]], ["x"], ids=["me"])
    assert as_lists(positive_ranks(query, gallery)) == [[1]]
    assert as_lists(positive_ranks(query, gallery, exclude_self=False)) == [[2]]


@pytest.mark.parametrize("ids", [np.arange(8), np.array([f"image-{i}" for i in range(8)])])
def test_search_of_a_set_in_itself_equals_slow_reference(ids):
    rng = np.random.default_rng(3)
    gallery = embeddings(rng.standard_normal((8, 4)), rng.integers(0, 3, 8), ids=ids, **DOT)
    query = gallery.take(np.array([6, 2, 5]))
    assert as_lists(positive_ranks(query, gallery)) == slow_ranks(query, gallery)
    assert nearest(query, gallery, 7)[0].tolist() == slow_order(query, gallery)


@pytest.mark.parametrize("other", [np.array(["1", "2"]), np.array([1, 2], np.uint64)])
def test_ids_of_different_types_are_refused(other):
    query = embeddings(np.eye(2), ["a", "b"], ids=[1, 2])
    gallery = embeddings(np.eye(2), ["a", "b"], ids=other)
    with pytest.raises(VectorError, match=r"^found int64 query ids and .* gallery ids.*exclude_self=False$"):
        positive_ranks(query, gallery)
    assert as_lists(positive_ranks(query, gallery, exclude_self=False)) == [[1], [1]]


def test_queries_without_positives_keep_their_place():
    gallery = embeddings(np.eye(3), ["b", "c", "d"])
    query = embeddings(
        np.eye(3)[[0, 1, 2]], ["a", "c", "z"], first_id=10
    )  # before, among and after the gallery's labels
    ranks = positive_ranks(query, gallery)
    assert as_lists(ranks) == [[], [1], []]
    assert ranks.counts.tolist() == [0, 1, 0]


def test_the_only_positive_may_be_the_query_itself():
    gallery = embeddings(np.eye(2), ["a", "b"])
    assert as_lists(positive_ranks(gallery, gallery)) == [[], []]


def test_one_query_and_one_gallery_row():
    gallery, query = embeddings([[0, 1]], ["a"]), embeddings([[1, 0]], ["a"], first_id=1)
    assert as_lists(positive_ranks(query, gallery)) == [[1]]
    assert nearest(query, gallery, 1)[0].tolist() == [[0]]


@pytest.mark.parametrize("space", [DOT, COSINE, L2])
def test_memory_bound_changes_nothing(space):
    rng = np.random.default_rng(1)
    gallery = embeddings(rng.standard_normal((3000, 9)), rng.integers(0, 40, 3000), **space)
    query = embeddings(rng.standard_normal((200, 9)), rng.integers(0, 40, 200), first_id=2900, **space)
    whole, parts = (positive_ranks(query, gallery, memory_mb=mb) for mb in (256, 1))  # 1 MiB holds about 38 queries
    np.testing.assert_array_equal(whole.values, parts.values)
    np.testing.assert_array_equal(whole.offsets, parts.offsets)
    for a, b in zip(*(nearest(query, gallery, 20, memory_mb=mb) for mb in (256, 1)), strict=True):
        np.testing.assert_array_equal(a, b)


def peak_mib(search):
    """The most that was allocated at a time, in MiB."""
    tracemalloc.start()
    search()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("search", "whole"), [(positive_ranks, 61), (lambda q, g, memory_mb: nearest(q, g, 5, memory_mb=memory_mb), 122)]
)
def test_memory_stays_under_the_bound(search, whole):
    # 160 x 100,000 similarities are 61 MiB, keys twice that; one block at a time, the rest is ids and one tile
    rng = np.random.default_rng(2)
    gallery = embeddings(rng.standard_normal((100_000, 4)), np.arange(100_000) % 10, **DOT)
    query = embeddings(rng.standard_normal((160, 4)), np.arange(160), first_id=10**6, **DOT)
    peaks = {mb: peak_mib(lambda mb=mb: search(query, gallery, memory_mb=mb)) for mb in (4, 32, 256)}
    assert peaks[4] < 4 + 12
    assert peaks[32] < 32 + 12
    assert peaks[256] > whole


@pytest.mark.parametrize(
    "search",
    [
        lambda q, g: positive_ranks(q, g, memory_mb=8),
        lambda q, g: positive_ranks(q, g, relevant=Listed(np.arange(len(q)), np.arange(len(q) + 1)), memory_mb=8),
        lambda q, g: nearest(q, g, 5, memory_mb=8),
    ],
)
def test_memory_does_not_grow_with_the_gallery(search):
    # 150,000 more rows of 16 float32 numbers would be 9 MiB, their labels 3 MiB, their ids 1 MiB
    rng = np.random.default_rng(2)
    peaks = []
    for rows in (50_000, 200_000):
        gallery = embeddings(rng.standard_normal((rows, 16)), np.arange(rows).astype(str), **DOT)
        query = gallery.take(np.arange(0, rows, rows // 100))
        peaks.append(peak_mib(lambda query=query, gallery=gallery: search(query, gallery)))
    assert max(peaks) < 8 + 12
    assert peaks[1] < peaks[0] + 2


def test_a_memory_mapped_gallery_is_never_loaded(tmp_path):
    vectors = np.lib.format.open_memmap(tmp_path / "gallery.npy", "w+", np.float32, (60_000, 64))
    vectors[:] = np.random.default_rng(0).standard_normal(vectors.shape)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")  # 15 MiB
    labels = np.arange(60_000) % 500
    query = embeddings(vectors[:20], labels[:20], **DOT)
    found = []

    def search():
        gallery = embeddings(mapped, labels, **DOT)
        found.extend([positive_ranks(query, gallery, memory_mb=2), nearest(query, gallery, 5, memory_mb=2)])

    peak = peak_mib(search)
    assert peak < 2 + 10
    ranks, (rows, _) = found
    assert as_lists(ranks) == as_lists(positive_ranks(query, embeddings(vectors, labels, **DOT)))
    np.testing.assert_array_equal(rows, nearest(query, embeddings(vectors, labels, **DOT), 5)[0])


def test_one_query_does_not_widen_the_gallery_at_once():
    # 20,000 x 128 float64 numbers would be 20 MiB
    gallery = embeddings(np.random.default_rng(0).standard_normal((20_000, 128)), **DOT)
    query = gallery.take(np.array([0]))
    assert peak_mib(lambda: nearest(query, gallery, 1, memory_mb=1)) < 10


def test_memory_that_holds_no_query_is_refused():
    gallery = embeddings(np.random.default_rng(0).standard_normal((140_000, 1)), **DOT)
    query = gallery.take(np.array([0]))
    with pytest.raises(SettingsError, match=r"^memory_mb=1 does not hold one query .* give at least 2$"):
        nearest(query, gallery, 1, memory_mb=1)
    assert nearest(query, gallery, 1, memory_mb=2)[0].shape == (1, 1)


@pytest.mark.parametrize("k", [0, 4])
def test_k_outside_the_gallery_is_refused(k):
    gallery = embeddings(np.eye(3))
    with pytest.raises(SettingsError, match=rf"^cannot return k={k} rows of a gallery with 3 to rank"):
        nearest(embeddings(np.eye(3), first_id=50), gallery, k)


def test_k_does_not_count_the_excluded_row():
    gallery = embeddings(np.eye(3))
    with pytest.raises(SettingsError, match="with 2 to rank"):
        nearest(gallery, gallery, 3)
    assert nearest(gallery, gallery, 3, exclude_self=False)[0].shape == (3, 3)


def test_empty_sides_are_refused():
    some, none = embeddings(np.eye(2), ["a", "b"]), embeddings(np.zeros((0, 2)), [])
    for query, gallery, name in ((none, some, "query"), (some, none, "gallery")):
        for search in (positive_ranks, lambda q, g: nearest(q, g, 1)):
            with pytest.raises(VectorError, match=rf"^the {name} is empty: expected at least one vector$"):
                search(query, gallery)


def test_missing_labels_are_refused():
    labelled, bare = embeddings(np.eye(2), ["a", "b"]), embeddings(np.eye(2))
    for query, gallery, name in ((bare, labelled, "query"), (labelled, bare, "gallery")):
        with pytest.raises(VectorError, match=rf"^the {name} has no labels"):
            positive_ranks(query, gallery)


def test_incomparable_spaces_are_refused_and_declared_ones_searched():
    old = embeddings(np.eye(2), ["a", "b"])
    free = embeddings(np.eye(2), ["a", "b"], first_id=10, fingerprint="b" * 16)
    trained = embeddings(np.eye(2), ["a", "b"], first_id=10, fingerprint="c" * 16, backward_compatible_with=("a" * 16,))
    for search in (positive_ranks, lambda q, g: nearest(q, g, 1)):
        with pytest.raises(SpaceError, match="cannot be compared"):
            search(free, old)
        with pytest.raises(SpaceError, match="cannot be compared"):
            search(old, trained)  # compatibility has a direction
    assert as_lists(positive_ranks(trained, old)) == [[1], [1]]


def test_unnormalised_queries_on_a_normalised_gallery_get_cosines():
    old = embeddings(np.eye(2))
    new = embeddings([[3, 4]], first_id=9, fingerprint="c" * 16, normalised=False, backward_compatible_with=("a" * 16,))
    rows, similarity = nearest(new, old, 2)
    assert rows.tolist() == [[1, 0]]
    np.testing.assert_array_equal(similarity, np.float32([[0.8, 0.6]]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 40),
    queries=st.integers(1, 5),
    metric=st.sampled_from(["dot", "l2"]),
    grid=st.integers(1, 3),
)
def test_ranks_with_ties_equal_slow_reference(seed, rows, queries, metric, grid):
    query, gallery = random_pair(
        seed, queries=queries, gallery=rows, dim=1 + seed % 5, classes=4, metric=metric, grid=grid
    )
    assert as_lists(positive_ranks(query, gallery)) == slow_ranks(query, gallery)
    k = seed % rows + 1
    assert nearest(query, gallery, k)[0].tolist() == [order[:k] for order in slow_order(query, gallery)]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 60),
    dim=st.integers(1, 40),
    metric=st.sampled_from(["cosine", "l2"]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_a_vector_is_nearest_to_itself(seed, rows, dim, metric, scale):
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)) * scale
    both = embeddings(vectors, metric=metric, normalised=False)
    found, similarity = nearest(both, both, rows, exclude_self=False)
    own = similarity[found == np.arange(rows)[:, None]]
    np.testing.assert_array_equal(own, similarity[:, 0])  # nothing is more similar; in one dimension cosines tie
    np.testing.assert_array_equal(own, np.float32(1 if metric == "cosine" else 0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 60))
def test_gallery_order_does_not_matter_without_ties(seed, rows):
    query, gallery = random_pair(seed, queries=4, gallery=rows, dim=6, classes=5)
    shuffled = gallery.take(np.random.default_rng(seed).permutation(rows))
    assert as_lists(positive_ranks(query, gallery)) == as_lists(positive_ranks(query, shuffled))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_cosine_does_not_depend_on_length(seed, scale):
    query, gallery = random_pair(seed, queries=5, gallery=30, dim=8, classes=5, metric="cosine")
    longer = embeddings(gallery.vectors * 2.0 ** np.arange(-15, 15)[:, None], gallery.labels, **COSINE)
    scaled = embeddings(query.vectors * np.float32(scale), query.labels, first_id=1000, **COSINE)
    assert as_lists(positive_ranks(query, gallery)) == as_lists(positive_ranks(query, longer))
    np.testing.assert_array_equal(nearest(query, gallery, 30)[1], nearest(query, longer, 30)[1])
    np.testing.assert_allclose(nearest(query, gallery, 30)[1], nearest(scaled, longer, 30)[1], atol=1e-6)
