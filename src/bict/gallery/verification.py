"""Checks of a staged column before anybody searches it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bict.embeddings import NORM_TOLERANCE
from bict.errors import GalleryError, SettingsError
from bict.gallery.carrying import Route, Transforms, VectorTransform, carry, rounds
from bict.gallery.gallery import Gallery
from bict.gallery.metadata import Column
from bict.gallery.staging import as_tuple, find_routes
from bict.gallery.stores.base import present_vectors, source_bytes
from bict.progress import Progress, silent

Vectors = NDArray[np.float32]
PAIRS = 4096
ROUNDED = 1e-2
"""Tolerance where the transforms round: kernels of another machine, or of a GPU, round another way."""


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
    agreeing: int = 0
    damaged: int = 0
    recomputed: int = 0
    wrong: int = 0
    worst: float = 0.0
    sample: list[pa.RecordBatch] = field(default_factory=list)


def verify(
    gallery: Gallery,
    transforms: VectorTransform | Transforms,
    *,
    sample: int = 256,
    seed: int = 0,
    tolerance: float = 1e-5,
    k: int = 10,
    progress: Progress = silent,
) -> VerifyReport:
    """Check the column that transforms made: complete, finite, of unit length, as the ledger says, as recomputed.

    A unit whose checksums agree is as it was staged; a sample of its rows is recomputed. A unit whose source vectors
    changed since, or were deleted, is recomputed as a whole. When all checks pass, the column may be switched to.

    Args:
        gallery: its vectors are only read; that the column passed is noted in its metadata.
        transforms: the ones the column was made by.
        sample: rows to recompute, and to compare the neighbours of.
        seed: chooses the rows.
        tolerance: largest `|recomputed - staged| / max(1, |recomputed|)` of a row; at least .01 in less than float32.
        k: neighbours compared between old and staged vectors, each row without itself; information, not a gate.
        progress: called with rows done and rows in all.

    Raises:
        GalleryError: the transforms made no column of this gallery, or its source column is gone.
    """
    if sample < 0 or seed < 0:
        raise SettingsError(f"found a sample of {sample} and seed {seed}, expected 0 or more")
    chosen = as_tuple(transforms)
    metadata = gallery.metadata
    column = metadata.made_by(transform.digest for transform in chosen)
    if column is None:
        digests = ", ".join(transform.digest[:12] for transform in chosen)
        raise GalleryError(
            f"{gallery.address} has no column made by transform {digests}: stage it first, or name the --precision it "
            "was staged in"
        )
    routes = find_routes(metadata, chosen)
    if rounds(chosen):
        tolerance = max(tolerance, ROUNDED)
    rows = len(gallery)
    picked = np.sort(np.random.default_rng(seed).choice(rows, min(sample, rows), replace=False))
    walk = _walk(gallery, routes, column, picked, tolerance, progress)
    checks = [
        Check("rows", walk.absent == 0, f"{walk.rows - walk.absent} of {walk.rows} rows have a vector"),
        Check("finite", walk.not_finite == 0, f"{walk.not_finite} vectors are NaN, infinite or all zero"),
        _unit_length(walk, column),
        Check("checksums", walk.wrong + walk.damaged == 0, _units(walk)),
    ]
    if all(check.passed for check in checks):
        checks.append(_recomputed(walk.sample, routes, column, gallery.store.id_column, tolerance))
        checks += _information(gallery, routes[0].source, column, walk.sample, k, seed)
    report = VerifyReport(column.name, tuple(checks))
    if column.state in ("staging", "staged"):
        passed = datetime.now(UTC) if report.passed else None
        gallery.edit(lambda newest: newest.changed(column.name, checked=passed))
    return report


def _walk(
    gallery: Gallery,
    routes: tuple[Route, ...],
    column: Column,
    picked: NDArray[np.int64],
    tolerance: float,
    progress: Progress,
) -> _Walk:
    store, walk = gallery.store, _Walk()
    entries, id_column = store.ledger(column.name).entries(), store.id_column
    sources = [route.source.name for route in routes]
    live, total = gallery.active_column, store.count()
    names = list(dict.fromkeys([id_column, *sources, column.name, live]))
    for unit in store.units(column.name):
        new_sum, old_sum = hashlib.sha256(), hashlib.sha256()
        for batch in store.read_unit(unit, names):
            staged, there = present_vectors(batch[column.name])
            has_source = _any_valid(batch, sources)
            walk.absent += int(((has_source | _any_valid(batch, [live])) & ~there).sum())
            _look_at(walk, staged)
            new_sum.update(np.ascontiguousarray(staged[has_source[there]]).data)
            old_sum.update(source_bytes(batch, sources))
            inside = picked[(picked >= walk.rows) & (picked < walk.rows + len(batch))] - walk.rows
            if len(inside):
                walk.sample.append(batch.take(pa.array(inside)))
            walk.rows += len(batch)
            progress(walk.rows, total)
        entry = entries.get(unit.key)
        if entry is not None and entry.source_sha256 == old_sum.hexdigest():
            walk.agreeing += entry.sha256 == new_sum.hexdigest()
            walk.damaged += entry.sha256 != new_sum.hexdigest()
        else:
            walk.recomputed += 1
            _recompute_unit(walk, store.read_unit(unit, names), routes, column, id_column, tolerance)
    return walk


def _any_valid(batch: pa.RecordBatch, names: Sequence[str]) -> NDArray[np.bool_]:
    valid = [batch[name].is_valid().to_numpy(zero_copy_only=False) for name in names]
    return np.asarray(np.logical_or.reduce(valid))


def _look_at(walk: _Walk, staged: Vectors) -> None:
    norms = np.linalg.norm(staged, axis=1)
    walk.not_finite += int((~np.isfinite(norms) | (norms == 0)).sum())
    walk.norm_error = max(walk.norm_error, float(np.abs(norms - 1).max(initial=0)))


def _recompute_unit(
    walk: _Walk,
    batches: Iterator[pa.RecordBatch],
    routes: tuple[Route, ...],
    column: Column,
    id_column: str,
    tolerance: float,
) -> None:
    for batch in batches:
        errors = _errors(batch, routes, column, id_column)
        walk.wrong += int((errors > tolerance).sum())
        walk.worst = max(walk.worst, float(errors.max(initial=0)))


def _errors(batch: pa.RecordBatch, routes: tuple[Route, ...], column: Column, id_column: str) -> NDArray[np.float64]:
    """`|recomputed - staged| / max(1, |recomputed|)` of every row that has both."""
    carried = carry(routes, batch, id_column)
    staged, there = present_vectors(batch[column.name])
    expected = carried.new[there[carried.rows]].astype(np.float64)
    found = staged[carried.rows[there]]
    with np.errstate(invalid="ignore"):
        errors = np.linalg.norm(expected - found, axis=1) / np.maximum(1, np.linalg.norm(expected, axis=1))
    return np.asarray(np.nan_to_num(errors, nan=np.inf))


def _units(walk: _Walk) -> str:
    units = walk.agreeing + walk.damaged + walk.recomputed
    text = f"{walk.agreeing} of {units} units agree with the ledger"
    if walk.damaged:
        text += f", {walk.damaged} are not what was written"
    if walk.recomputed:
        text += f", {walk.recomputed} changed since and were recomputed: {walk.wrong} rows wrong"
    return text


def _unit_length(walk: _Walk, column: Column) -> Check:
    if not column.space.normalised:
        return Check("unit length", passed=True, found="not asked for by the space")
    return Check("unit length", walk.norm_error <= NORM_TOLERANCE, f"norms are off 1 by up to {walk.norm_error:.1e}")


def _recomputed(
    sample: Sequence[pa.RecordBatch], routes: tuple[Route, ...], column: Column, id_column: str, tolerance: float
) -> Check:
    errors = [_errors(batch, routes, column, id_column) for batch in sample]
    worst = max((float(some.max(initial=0)) for some in errors), default=0.0)
    found = f"{sum(map(len, errors))} rows differ by up to {worst:.1e}"
    return Check("recomputed sample", worst <= tolerance, found)


def _information(
    gallery: Gallery, source: Column, column: Column, sample: Sequence[pa.RecordBatch], k: int, seed: int
) -> list[Check]:
    parts = []
    for batch in sample:
        both = batch.filter(pc.and_(batch[source.name].is_valid(), batch[column.name].is_valid()))
        ids = both[gallery.store.id_column].to_numpy(zero_copy_only=False)
        parts.append((ids, *(present_vectors(both[name])[0] for name in (source.name, column.name))))
    if sum(len(ids) for ids, _, _ in parts) < 2:
        return []
    ids, old, new = (np.concatenate(part) for part in zip(*parts, strict=True))
    return [_overlap(gallery, source, column, (ids, old, new), k), _drift(old, new, seed)]


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


def _drift(old: Vectors, new: Vectors, seed: int) -> Check:
    """How the cosines of random pairs are spread before and after: thresholds on scores move with them."""
    pairs = np.random.default_rng(seed).integers(0, len(old), (2, PAIRS))
    first, second = pairs[:, pairs[0] != pairs[1]]
    spreads = []
    for vectors in (old, new):
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
        cosines = np.einsum("ij,ij->i", unit[first], unit[second])
        spreads.append(f"{cosines.mean():.2f} (95 % below {np.quantile(cosines, 0.95):.2f})")
    found = f"cosine of random pairs: {spreads[0]} before, {spreads[1]} after"
    return Check("similarity drift", passed=True, found=found, required=False)
