"""Query bridges: carry new queries into the old space, so that the new model can search a gallery that stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import SettingsError, UnknownName, VectorError
from bict.spaces import Space, require_same
from bict.transforms.card import BRIDGE, Direction
from bict.transforms.directed import Directed
from bict.transforms.drift_mlp import DriftMLP
from bict.transforms.head import Head
from bict.transforms.low_rank import LowRank
from bict.transforms.procrustes import Procrustes
from bict.transforms.registry import build_rung
from bict.transforms.ridge import Ridge
from bict.transforms.rung import Pairs, Rung

BRIDGES: dict[str, type[Rung]] = {
    "procrustes": Procrustes,
    "ridge": Ridge,
    "low-rank": LowRank,
    "mlp": DriftMLP,
    "head": Head,
}
PARALLEL = 1e-6


class QueryBridge(Directed):
    """Carries new queries into the space of the old model, and refuses to do anything else.

    Vejendla, "Drift-Adapter: A Practical Approach to Near Zero-Downtime Embedding Model Upgrades in Vector Databases",
    EMNLP 2025 (arXiv 2509.23471). Nothing is written to the gallery; every query pays for the map.

    Attributes:
        rung: the fitted map, of pairs with their sides exchanged.
        source: space of the new model.
        target: space of the stored old vectors.
        data_hash: SHA-256 of the pairs, before the exchange, or None.
        created: UTC time of the fit, ISO 8601.
        path: directory it was last written to or read from, or None.
    """

    direction: ClassVar[Direction] = BRIDGE
    noun: ClassVar[str] = "query bridge"
    takes: ClassVar[str] = "new queries"


def fit_bridge(
    pairs: Pairs,
    new_space: Space,
    old_space: Space,
    *,
    form: str,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> QueryBridge:
    """The bridge of one of the forms of `BRIDGES`, fitted on every view of the pairs.

    Args:
        pairs: of training images, as for a forward transform.
        new_space: space of the new vectors, which the bridge takes.
        old_space: space of the old vectors, which it gives.
        form: one of `BRIDGES`.
        settings: of the form, over its defaults.
        seed: of what the form draws.

    Raises:
        UnknownName: no form has this name.
        TransformError: dimensions that are not those of the spaces, or pairs on which the form cannot be fitted.
        VectorError: vectors that cannot lie in their space.
    """
    if form not in BRIDGES:
        raise UnknownName("bridge", form, BRIDGES)
    pairs.require_spaces(old_space, new_space)
    rung = build_rung(BRIDGES[form].name, settings, seed=seed).fit(pairs.exchanged())
    return QueryBridge(rung, new_space, old_space, data_hash=pairs.digest())


def slerp(old_queries: Embeddings, bridged_queries: Embeddings, alpha: float = 0.5) -> Embeddings:
    """Queries on the great circle from the old model's own vector u to the bridged new one v, at the share alpha.

    q = (sin((1 - alpha) t) u + sin(alpha t) v) / sin t, t the angle between u and v; lengths are interpolated
    linearly. Ricci, Biondi and Pernici, "Spherical Interpolation for Backward-Compatible Multimodal Representations",
    NeurIPS 2026 (arXiv 2609.39836), with an orthogonal bridge and an alpha chosen on pairs of their own (.4 to .7 for
    CLIP L/14 to B/32). Of the many great circles between opposite vectors, the one towards the axis is taken from which
    u is farthest.

    Args:
        old_queries: vectors of the old model.
        bridged_queries: the same queries, embedded by the new model and bridged into the same space.
        alpha: 0 for the old vector, 1 for the bridged one.

    Raises:
        SettingsError: alpha is not between 0 and 1.
        SpaceError: the two lie in different spaces.
        VectorError: the ids differ, or stand in another order.
    """
    if not 0 <= alpha <= 1:
        raise SettingsError(f"alpha must lie between 0 and 1, found {alpha}")
    require_same(bridged_queries.space, old_queries.space, "slerp joins bridged queries with those of the old model")
    if not np.array_equal(old_queries.ids, bridged_queries.ids):
        raise VectorError("old and bridged queries have different ids: embed the same queries, in the same order")
    u, v = (each.vectors.astype(np.float64) for each in (old_queries, bridged_queries))
    lengths = [np.linalg.norm(each, axis=1, keepdims=True) for each in (u, v)]
    between = _between(u / lengths[0], v / lengths[1], alpha)
    mixed = between * ((1 - alpha) * lengths[0] + alpha * lengths[1])
    return Embeddings(old_queries.ids, mixed.astype(np.float32), old_queries.space, old_queries.labels)


def _between(u: NDArray[np.float64], v: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Unit vectors cos(alpha t) u + sin(alpha t) w of unit u, v `(rows, dim)`; w is right to u in their plane."""
    cosine = np.sum(u * v, axis=1, keepdims=True)
    across = v - cosine * u
    sine = np.linalg.norm(across, axis=1, keepdims=True)
    axis = np.eye(u.shape[1])[np.argmin(np.abs(u), axis=1)]
    across = np.where(sine > PARALLEL, across, axis - np.sum(axis * u, axis=1, keepdims=True) * u)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    angle = alpha * np.arctan2(sine, cosine)
    return np.asarray(np.cos(angle) * u + np.sin(angle) * across)
