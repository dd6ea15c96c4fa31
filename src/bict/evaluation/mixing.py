"""Two systems that answer as one: score fusion, and the rank merge of a partial backfill.

Either is realised by longer vectors in a space of its own, whose dot product is the mixed score, so that whatever ranks
vectors ranks the mix. That space is made of all four spaces, and compares with nothing but itself. Both take unit
vectors, for which a score is a cosine and a higher score a smaller distance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import SettingsError, SpaceError
from bict.evaluation.items import check_mask, require_same_items
from bict.spaces import Space, compare, fingerprint


class _System(NamedTuple):
    query: Embeddings
    gallery: Embeddings


def fused(
    query_1: Embeddings,
    query_2: Embeddings,
    gallery_1: Embeddings,
    gallery_2: Embeddings,
    weights: tuple[float, float],
) -> tuple[Embeddings, Embeddings]:
    """Query and gallery whose dot product is `score = a s_1 + b s_2`, the weighted sum of two systems' scores.

    `[sqrt(a) q_1; sqrt(b) q_2]` against `[sqrt(a) g_1; sqrt(b) g_2]`. With `a + b = 1` they are again unit vectors.

    Args:
        query_1: `(queries, dim_1)` of the first system.
        query_2: `(queries, dim_2)`, the same queries in the same order.
        gallery_1: `(gallery, dim_1)` of the first system.
        gallery_2: `(gallery, dim_2)`, the same items in the same order.
        weights: a and b, not negative and not both 0.

    Returns:
        Queries `(queries, dim_1 + dim_2)` and gallery `(gallery, dim_1 + dim_2)`, in a space of their own.

    Raises:
        SpaceError: a system's queries may not search its gallery, or a space is not normalised.
        VectorError: the systems hold other ids or labels, or another order of them.
        SettingsError: a weight that is negative or not finite, or two of 0.
    """
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise SettingsError(f"found weights {weights}, expected two that are not negative and not both 0")
    one, two = _System(query_1, gallery_1), _System(query_2, gallery_2)
    a, b = (float(weight) for weight in weights)
    space = _space("score fusion", f"{a:g} x {gallery_1.space.name} + {b:g} x {gallery_2.space.name}", one, two, (a, b))
    sides = zip(one, two, strict=True)
    query, gallery = (
        Embeddings(
            first.ids, np.hstack([math.sqrt(a) * first.vectors, math.sqrt(b) * second.vectors]), space, first.labels
        )
        for first, second in sides
    )
    return query, gallery


def rank_merged(
    old_query: Embeddings,
    new_query: Embeddings,
    old_gallery: Embeddings,
    new_gallery: Embeddings,
    backfilled: NDArray[np.bool_],
) -> tuple[Embeddings, Embeddings]:
    """Query and gallery of a partial backfill that two models search, their lists merged by distance.

    The old model's queries search the rows that are not backfilled, the new model's those that are, and one list is
    sorted by distance: the distance rank merge of Seo et al., "Metric Compatible Training for Online Backfilling in
    Large-Scale Retrieval", WACV 2025, arXiv 2301.03767. `[q_old; q_new]` against `[g_old; 0]` or `[0; g_new]`.

    Args:
        old_query: `(queries, old_dim)`.
        new_query: `(queries, new_dim)`, the same queries in the same order.
        old_gallery: `(gallery, old_dim)` stored vectors.
        new_gallery: `(gallery, new_dim)` re-embedded vectors of the same items in the same order.
        backfilled: `(gallery,)`; only these rows of `new_gallery` count, and only the others of `old_gallery`.

    Returns:
        Queries `(queries, old_dim + new_dim)` and gallery `(gallery, old_dim + new_dim)`, in a space of their own.

    Raises:
        SpaceError: a model's queries may not search its gallery, or a space is not normalised.
        VectorError: the systems hold other ids or labels, or another order of them, or a mask of another shape.
    """
    old, new = _System(old_query, old_gallery), _System(new_query, new_gallery)
    name = f"{old_gallery.space.name} merged with {new_gallery.space.name}"
    space = _space("distance rank merge", name, old, new)
    mask = check_mask(backfilled, len(old_gallery))[:, None]
    both = np.hstack([old_query.vectors, new_query.vectors])
    blocks = np.hstack([old_gallery.vectors * ~mask, new_gallery.vectors * mask])
    return (
        Embeddings(old_query.ids, both, space, old_query.labels),
        Embeddings(old_gallery.ids, blocks, space, old_gallery.labels),
    )


def _space(kind: str, name: str, one: _System, two: _System, weights: tuple[float, ...] = ()) -> Space:
    """The space of both systems together, once they are known to be of the same items and of unit vectors."""
    spaces = [side.space for system in (one, two) for side in system]
    for system in (one, two):
        compare(system.query.space, system.gallery.space)
    for space in spaces:
        if not space.normalised:
            raise SpaceError(f"{kind}: space {space} is not normalised: give vectors of spaces of unit length")
    require_same_items(one.query, two.query, f"{kind}: first and second queries")
    require_same_items(one.gallery, two.gallery, f"{kind}: first and second gallery")
    parts = [kind, *(space.fingerprint for space in spaces), *map(repr, weights)]
    dim = one.gallery.space.dim + two.gallery.space.dim
    identity = fingerprint(*(part.encode() for part in parts))
    return Space(name=name, fingerprint=identity, dim=dim, metric="dot", normalised=False)
