"""Checks of a staged column before anybody searches it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.embeddings import NORM_TOLERANCE, Embeddings, arrow_to_vectors
from bict.errors import GalleryError
from bict.gallery.gallery import Gallery
from bict.gallery.ledger import Ledger
from bict.gallery.metadata import Column
from bict.gallery.staging import VectorTransform, apply_checked, ledger_folder

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """One finding about a staged column; where `required` is False it is information and always passes."""

    name: str
    passed: bool
    found: str
    required: bool = True


@dataclass(frozen=True)
class VerifyReport:
    """All findings about a staged column."""

    column: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every required check passed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The required checks that did not pass."""
        return tuple(check for check in self.checks if check.required and not check.passed)


@dataclass
class _Walk:
    """What one pass over the units of a staged column found."""

    rows: int = 0
    absent: int = 0
    not_finite: int = 0
    norm_error: float = 0.0
    units: int = 0
    wrong_units: list[str] = field(default_factory=list)
    ids: list[NDArray[Any]] = field(default_factory=list)
    old: list[Vectors] = field(default_factory=list)
    new: list[Vectors] = field(default_factory=list)


def verify(
    gallery: Gallery,
    transform: VectorTransform,
    *,
    sample: int = 256,
    seed: int = 0,
    tolerance: float = 1e-5,
    k: int = 10,
) -> VerifyReport:
    """Check the column that a transform staged: complete, finite, of unit length, as the ledger says, as recomputed.

    Args:
        gallery: read only.
        transform: the one the column was made by.
        sample: rows to recompute, and to compare the neighbours of.
        seed: chooses the rows.
        tolerance: largest `|recomputed - staged| / max(1, |recomputed|)` of a row.
        k: neighbours compared between old and staged vectors, each row without itself; information, not a gate.

    Raises:
        GalleryError: the transform made no column of this gallery, or its source column or ledger is gone.
    """
    metadata = gallery.metadata
    column = metadata.made_by(transform.digest)
    if column is None:
        raise GalleryError(f"{gallery.address} has no column made by transform {transform.digest[:12]}: stage it first")
    source = metadata.source_of(column)
    if source is None:
        raise GalleryError(f"the column that {column.name!r} was made from is gone: nothing to compare it with")
    rows = len(gallery)
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(sample, rows), replace=False))
    walk = _walk(gallery, source, column, chosen)
    checks = [
        Check(
            "rows", walk.absent == 0 and walk.rows == rows, f"{walk.rows - walk.absent} of {rows} rows have a vector"
        ),
        Check("finite", walk.not_finite == 0, f"{walk.not_finite} vectors are NaN, infinite or all zero"),
        _unit_length(walk, column),
        Check("checksums", not walk.wrong_units, f"{walk.units - len(walk.wrong_units)} of {walk.units} units agree"),
    ]
    if all(check.passed for check in checks):
        ids, old, new = (np.concatenate(parts) for parts in (walk.ids, walk.old, walk.new))
        checks.append(_recomputed(transform, Embeddings(ids, old, source.space), new, tolerance))
        checks.append(_overlap(gallery, source, column, (ids, old, new), k))
    return VerifyReport(column.name, tuple(checks))


def _walk(gallery: Gallery, source: Column, column: Column, chosen: NDArray[np.int64]) -> _Walk:
    ledger, walk = Ledger.read(ledger_folder(gallery, column.name)), _Walk()
    for unit in gallery.store.units():
        checksum = hashlib.sha256()
        for batch in gallery.store.read_unit(unit, ["id", source.name, column.name]):
            new = _with_nan(batch[column.name])
            checksum.update(new.tobytes())
            norms = np.linalg.norm(new, axis=1)
            walk.absent += batch[column.name].null_count
            walk.not_finite += int((~np.isfinite(norms) | (norms == 0)).sum())
            walk.norm_error = max(walk.norm_error, float(np.abs(norms - 1).max()))
            picked = chosen[(chosen >= walk.rows) & (chosen < walk.rows + len(batch))] - walk.rows
            for part, values in (
                (walk.ids, batch["id"].to_numpy(zero_copy_only=False)),
                (walk.old, _with_nan(batch[source.name])),
                (walk.new, new),
            ):
                part.append(values[picked])
            walk.rows += len(batch)
        walk.units += 1
        entry = ledger.entries.get(unit.key)
        if entry is None or entry.sha256 != checksum.hexdigest():
            walk.wrong_units.append(unit.key)
    return walk


def _with_nan(column: pa.Array) -> Vectors:
    """Vectors `(rows, dim)` with NaN where the column is null."""
    if not column.null_count:
        return arrow_to_vectors(column)
    vectors = np.full((len(column), column.type.list_size), np.nan, np.float32)
    vectors[column.is_valid().to_numpy(zero_copy_only=False)] = arrow_to_vectors(pc.drop_null(column))
    return vectors


def _unit_length(walk: _Walk, column: Column) -> Check:
    if not column.space.normalised:
        return Check("unit length", passed=True, found="not asked for by the space")
    return Check("unit length", walk.norm_error <= NORM_TOLERANCE, f"norms are off 1 by up to {walk.norm_error:.1e}")


def _recomputed(transform: VectorTransform, old: Embeddings, staged: Vectors, tolerance: float) -> Check:
    expected = apply_checked(transform, old)
    scale = np.maximum(1, np.linalg.norm(expected, axis=1))
    error = float((np.linalg.norm(expected - staged, axis=1) / scale).max(initial=0))
    return Check("recomputed sample", error <= tolerance, f"{len(staged)} rows differ by up to {error:.1e}")


def _overlap(
    gallery: Gallery, source: Column, column: Column, sample: tuple[NDArray[Any], Vectors, Vectors], k: int
) -> Check:
    ids, old, new = sample
    before, after = (
        _neighbours(gallery.store.search(side.name, vectors, k + 1, side.space.metric).ids, ids, k)
        for side, vectors in ((source, old), (column, new))
    )
    shares = [len(a & b) / max(1, len(a)) for a, b in zip(before, after, strict=True)]
    found = f"{np.mean(shares):.2f} of a row's {k} neighbours stay the same, over {len(ids)} rows"
    return Check(f"neighbour overlap@{k}", passed=True, found=found, required=False)


def _neighbours(hits: NDArray[Any], own: NDArray[Any], k: int) -> Iterator[set[Any]]:
    for row, self_id in zip(hits, own, strict=True):
        yield set(row[row != self_id][:k].tolist())
