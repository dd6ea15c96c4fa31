"""How similar vectors of two comparable spaces are.

Similarities are computed in float64 and rounded to float32, so that equal vectors get equal similarities wherever they
lie in a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bict.spaces import Space, compare

Float = NDArray[np.float64]

SAME_POINT = 1e-13
"""Squared distances below this share of the squared norms are rounding error, and count as 0."""


@dataclass(frozen=True)
class Similarity:
    """The similarity of the gallery's space: cosine, dot, or negative squared L2; more is nearer.

    Attributes:
        metric: of the gallery's space.
        unit: both spaces are normalised; all three metrics then rank as the dot product, which is computed.
    """

    metric: str
    unit: bool

    @classmethod
    def between(cls, query: Space, gallery: Space) -> Similarity:
        """The similarity by which queries of one space search a gallery of another.

        Raises:
            SpaceError: the two spaces may not be compared.
        """
        compare(query, gallery)
        return cls(gallery.metric, query.normalised and gallery.normalised)

    def coordinates(self, vectors: NDArray[np.float32]) -> Float:
        """Rows `(rows, dim)` as float64, scaled to unit length where cosine asks for it."""
        exact = vectors.astype(np.float64)
        if self.metric == "cosine" and not self.unit:
            exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        return exact

    def table(self, query: Float, gallery: Float) -> NDArray[np.float32]:
        """`(queries, gallery)` similarities of coordinates, each query with each gallery row."""
        product = query @ gallery.T
        if self._squared:
            norms = (query**2).sum(1)[:, None] + (gallery**2).sum(1)
            distance = norms - 2 * product
            product = -np.where(distance > SAME_POINT * norms, distance, 0)
        return product.astype(np.float32)

    def pairs(self, query: Float, gallery: Float) -> NDArray[np.float32]:
        """`(pairs,)` similarities of coordinates, each query with the gallery row at the same place."""
        if self._squared:
            return np.asarray(-((query - gallery) ** 2).sum(1), np.float32)
        return np.asarray(np.einsum("ij,ij->i", query, gallery), np.float32)

    @property
    def _squared(self) -> bool:
        return self.metric == "l2" and not self.unit
