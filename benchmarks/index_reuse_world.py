"""What benchmarks/index_reuse.py measures on: old vectors, pairs and queries of items that two models see."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import normalise
from bict.transforms import Pairs, build_rung

Floats = NDArray[np.float32]
Carry = Callable[[Floats], Floats]
LATENT, PER_CLASS, K = 32, 100, 10


@dataclass(frozen=True)
class World:
    """Old vectors of a gallery, pairs to fit on, and new queries; all of unit length."""

    old: Floats
    pairs: Pairs
    queries: Floats


def draw(rows: int, queries: int, dim: int, pairs: int, seed: int) -> World:
    """Items around class centres, seen through two random networks, the old one with more noise."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, rows // PER_CLASS), LATENT)).astype(np.float32)
    networks = [(rng.standard_normal((LATENT, 4 * dim)), rng.standard_normal((4 * dim, dim))) for _ in range(2)]

    def see(items: Floats, side: int, noise: float) -> Floats:
        inner, outer = (matrix.astype(np.float32) for matrix in networks[side])
        seen = np.empty((len(items), dim), np.float32)
        for start in range(0, len(items), 16_384):
            part = slice(start, start + 16_384)
            values = np.tanh(items[part] @ inner / LATENT**0.5) @ outer / (4 * dim) ** 0.5
            seen[part] = normalise(values + noise * rng.standard_normal(values.shape, np.float32))
        return seen

    def items(count: int) -> Floats:
        spread = rng.standard_normal((count, LATENT), np.float32)
        return centres[rng.integers(len(centres), size=count)] + np.float32(0.6) * spread

    shared = items(pairs)
    fitted_on = Pairs(see(shared, 0, 0.3)[None], see(shared, 1, 0.1)[None])
    return World(see(items(rows), 0, 0.3), fitted_on, see(items(queries), 1, 0.1))


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def upgraded(world: World, rung: str, seed: int) -> Carry:
    """The fitted transform, in blocks, to unit vectors."""
    psi = build_rung(rung, seed=seed).fit(world.pairs)

    def apply(old: Floats) -> Floats:
        return np.concatenate([normalise(psi.transform(old[at : at + 8192])) for at in range(0, len(old), 8192)])

    return apply


def recall(found: Sequence[NDArray[np.int64]], exact: NDArray[np.int64]) -> float:
    """Share of the exact K nearest `(queries, K)` that were found; a few short lists may hold fewer than K."""
    return float(np.mean([len(np.intersect1d(one, other)) / K for one, other in zip(found, exact, strict=True)]))
