"""Ways to have an index of upgraded vectors, for benchmarks/index_reuse.py: inverted lists and graphs, by faiss."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from index_reuse_world import Carry, Floats, clock
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from bict.embeddings import normalise

AROUND = 16
"""Lists around its own among which an item chooses again."""
LINKS, BUILD_EFFORT = 16, 80
"""Links of a graph node, and candidates looked at while it is built."""

# --- inverted lists --------------------------------------------------------------------------------------------------


def clustered(vectors: Floats, lists: int, seed: int) -> Floats:
    """Centroids `(lists, dim)` by spherical k-means on a sample of 64 items a list."""
    kmeans = faiss.Kmeans(vectors.shape[1], lists, niter=10, seed=seed, spherical=True, max_points_per_centroid=64)
    kmeans.train(vectors)
    return np.asarray(kmeans.centroids)


def assigned(vectors: Floats, centroids: Floats) -> NDArray[np.int64]:
    """The nearest list of every item, `(rows,)`."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(centroids)
    return np.asarray(flat.search(vectors, 1)[1][:, 0])


def means(vectors: Floats, lists: NDArray[np.int64], count: int) -> Floats:
    """The mean of each list's members, of unit length; `(lists, dim)`."""
    rows = np.arange(len(vectors))
    member = csr_matrix((np.ones(len(vectors), np.float32), (lists, rows)), (count, len(vectors)))
    return normalise(np.asarray(member @ vectors) + np.float32(1e-9))


def chosen_again(vectors: Floats, lists: NDArray[np.int64], centroids: Floats) -> NDArray[np.int64]:
    """The nearest of the lists around its own for every item, list by list; `(rows,)`."""
    near = np.argsort(-(centroids @ centroids.T), axis=1)[:, :AROUND]
    order = np.argsort(lists, kind="stable")
    bounds = np.searchsorted(lists[order], np.arange(len(centroids) + 1))
    found = lists.copy()
    for number in range(len(centroids)):
        members = order[bounds[number] : bounds[number + 1]]
        if len(members):
            found[members] = near[number][np.argmax(vectors[members] @ centroids[near[number]].T, axis=1)]
    return found


def inverted(vectors: Floats, centroids: Floats, lists: NDArray[np.int64]) -> faiss.IndexIVFFlat:
    """An index of these lists."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(centroids)
    index = faiss.IndexIVFFlat(flat, vectors.shape[1], len(centroids), faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    lists = np.ascontiguousarray(lists, np.int64)
    index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(lists))
    return index


def list_ways(
    old_lists: NDArray[np.int64], old_centroids: Floats, new: Floats, psi: Carry, seed: int
) -> dict[str, Any]:
    """Seconds and index of each way to have inverted lists of the upgraded vectors."""
    count = len(old_centroids)

    def anew() -> faiss.IndexIVFFlat:
        centroids = clustered(new, count, seed)
        return inverted(new, centroids, assigned(new, centroids))

    def carried() -> faiss.IndexIVFFlat:
        return inverted(new, psi(old_centroids), old_lists)

    def mean() -> faiss.IndexIVFFlat:
        return inverted(new, means(new, old_lists, count), old_lists)

    def again() -> faiss.IndexIVFFlat:
        centroids = means(new, old_lists, count)
        return inverted(new, centroids, chosen_again(new, old_lists, centroids))

    def unclustered() -> faiss.IndexIVFFlat:
        centroids = psi(old_centroids)
        return inverted(new, centroids, assigned(new, centroids))

    return {
        "built anew": clock(anew),
        "lists kept, centroids carried": clock(carried),
        "lists kept, centroids are means": clock(mean),
        "chosen again around, means": clock(again),
        "all assigned, centroids carried": clock(unclustered),
    }


# --- graph -----------------------------------------------------------------------------------------------------------


def graph(vectors: Floats) -> faiss.IndexHNSWFlat:
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    index.add(vectors)
    return index


def replace_nodes(index: faiss.IndexHNSWFlat, vectors: Floats) -> None:
    """Other vectors in the nodes of a graph, whose links stay."""
    storage = faiss.downcast_index(index.storage)
    faiss.copy_array_to_vector(np.ascontiguousarray(vectors).view(np.uint8).ravel(), storage.codes)


def graph_ways(old: faiss.IndexHNSWFlat, new: Floats) -> dict[str, Any]:
    """Seconds and index of each way to have a graph of the upgraded vectors; the old one is overwritten."""
    ways = {"built anew": clock(lambda: graph(new))}
    seconds, _ = clock(lambda: replace_nodes(old, new))
    return {**ways, "old graph, new vectors": (seconds, old)}
