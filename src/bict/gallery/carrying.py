"""Vectors of one batch through the transforms that are meant for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import GalleryError
from bict.gallery.metadata import Column
from bict.gallery.stores.base import check_finite, present_vectors
from bict.spaces import Space, require_same


class VectorTransform(Protocol):
    """Carries vectors of the space `source` into the space `target`."""

    @property
    def source(self) -> Space:
        """The space of the vectors it takes."""
        ...

    @property
    def target(self) -> Space:
        """The space of the vectors it gives."""
        ...

    @property
    def digest(self) -> str:
        """A hash over everything that decides its output."""
        ...

    @property
    def path(self) -> Path | None:
        """Where it was loaded from, if it was."""
        ...

    def apply(self, embeddings: Embeddings) -> Embeddings:
        """The same ids with vectors `(rows, target.dim)`; SpaceError for vectors of another space."""
        ...


Transforms = Sequence[VectorTransform]


@runtime_checkable
class RoundedTransform(Protocol):
    """A transform that may compute in less than float32."""

    @property
    def exact(self) -> VectorTransform:
        """The same in float32: itself, where it does."""
        ...


def full_precision(transform: VectorTransform) -> VectorTransform:
    """The same transform computing in float32."""
    return transform.exact if isinstance(transform, RoundedTransform) else transform


def rounds(transforms: Iterable[VectorTransform]) -> bool:
    """Whether one of them computes in less than float32."""
    return any(full_precision(transform) is not transform for transform in transforms)


@dataclass(frozen=True)
class Route:
    """One of the ways into a staged column: the column vectors are read from, and their transform."""

    source: Column
    transform: VectorTransform


def apply_checked(transform: VectorTransform, old: Embeddings) -> NDArray[np.float32]:
    """New vectors `(rows, target.dim)` for old ones, in their order.

    Raises:
        SpaceError: the transform gave vectors of another space than its target.
        GalleryError: it gave other ids.
    """
    new = transform.apply(old)
    require_same(new.space, transform.target, "output of the transform")
    if not np.array_equal(new.ids, old.ids):
        raise GalleryError(
            f"the transform gave {len(new)} rows with other ids for {len(old)} rows: nothing was written"
        )
    return check_finite(new.vectors, "output of the transform")


@dataclass(frozen=True)
class Carried:
    """New vectors of one batch.

    Attributes:
        rows: `(rows,)` which rows of the batch were carried.
        old: the bytes of their source vectors, route after route.
        new: `(carried, dim)` their transforms, in the batch's order.
    """

    rows: NDArray[np.bool_]
    old: bytes
    new: NDArray[np.float32]


def carry(
    routes: Sequence[Route], batch: pa.RecordBatch, id_column: str, *, only_missing: str | None = None
) -> Carried:
    """Each row's vector through the first route that has one; rows with a vector in `only_missing` are left out."""
    ids = batch[id_column].to_numpy(zero_copy_only=False)
    done = np.zeros(len(batch), bool)
    if only_missing:
        done |= batch[only_missing].is_valid().to_numpy(zero_copy_only=False)
    carried, old = np.zeros(len(batch), bool), []
    new = np.empty((len(batch), routes[0].transform.target.dim), np.float32)
    for route in routes:
        vectors, there = present_vectors(batch[route.source.name])
        mine = there & ~done
        if not mine.any():
            continue
        vectors = vectors if mine.all() else vectors[mine[there]]
        new[mine] = apply_checked(route.transform, Embeddings(ids[mine], vectors, route.source.space))
        old.append(vectors.tobytes())
        done |= mine
        carried |= mine
    return Carried(carried, b"".join(old), new if carried.all() else new[carried])
