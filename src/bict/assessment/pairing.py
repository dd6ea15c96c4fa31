"""Old and new vectors of the same items, joined by id, with all that was odd about the files."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.assessment.names import differing, joined, taken
from bict.assessment.vector_file import VectorFile
from bict.embeddings import NORM_TOLERANCE, norms
from bict.errors import SettingsError, SpaceError, VectorError
from bict.spaces import Space

NAMED = 3
"""Ids that a message names."""


@dataclass(frozen=True, eq=False)
class PairedVectors:
    """Items that both models embedded, in the order of their ids; every vector is finite and none is zero.

    Attributes:
        ids: `(pairs,)`.
        old: `(pairs, old dim)`.
        new: `(pairs, new dim)`.
        labels: `(pairs,)` class names, or None.
        split: `(pairs,)` names of parts, "" where an item is in none, or None.
        old_space: of `old`.
        new_space: of `new`.
        counts: `rows_old` and `rows_new` in the files; `paired` with an id in both; `only_old` and `only_new` without;
            `left_out_not_finite`, `left_out_zero` and `left_out_not_unit` of those that were read; `pairs` are left.
        warnings: one line for each thing that was odd about the files.
    """

    ids: NDArray[Any]
    old: NDArray[np.float32]
    new: NDArray[np.float32]
    labels: NDArray[np.str_] | None
    split: NDArray[np.str_] | None
    old_space: Space
    new_space: Space
    counts: dict[str, int]
    warnings: list[str]


def pair_files(old: VectorFile, new: VectorFile, *, max_pairs: int, seed: int) -> PairedVectors:
    """Vectors of the items in both files; the result depends on ids alone, not on the order of rows.

    Args:
        old: vectors of the old model.
        new: vectors of the new model.
        max_pairs: of more, a uniform random sample is read.
        seed: of the sample.

    Raises:
        SettingsError: no pair is allowed.
        SpaceError: both files are of one space, or they look swapped.
        VectorError: the files share no ids or differ in their type, disagree about a label or part, hold the same
            vectors, cannot be read, or more than half of the pairs have a vector that cannot be used.
    """
    if max_pairs < 1:
        raise SettingsError(f"the largest number of pairs must be at least 1, found {max_pairs}")
    _refuse_one_space(old, new)
    old_rows, new_rows = _join(old, new)
    paired = len(old_rows)
    labels = _agreed("label", old, new, old_rows, _at(old.labels, old_rows), _at(new.labels, new_rows))
    split = _agreed("part", old, new, old_rows, _at(old.split, old_rows), _at(new.split, new_rows))
    warnings = [*_look_swapped(old, new)]
    warnings += [*_without_partner(old.ids, "old", old_rows), *_without_partner(new.ids, "new", new_rows)]
    counts = {"rows_old": len(old), "rows_new": len(new), "paired": paired}
    counts |= {"only_old": len(old) - paired, "only_new": len(new) - paired}
    rows = np.arange(paired)
    if paired > max_pairs:
        rows = np.sort(np.random.default_rng(seed).choice(paired, max_pairs, replace=False))
        warnings.append(f"{max_pairs} of {paired} pairs are used, drawn at random with seed {seed}")
    ids = taken(old.ids, old_rows[rows])
    with ThreadPoolExecutor(2) as pool:  # Arrow decodes without Python's lock
        old_vectors, new_vectors = pool.map(VectorFile.read, (old, new), (old_rows[rows], new_rows[rows]))
    kept, left_out, notes = _usable(ids, problems_of(old.space, old_vectors), problems_of(new.space, new_vectors))
    if not kept.all():
        rows, ids, old_vectors, new_vectors = rows[kept], ids[kept], old_vectors[kept], new_vectors[kept]
    _refuse_one_model(old, new, old_vectors, new_vectors)
    counts |= {**left_out, "pairs": len(rows)}
    drawn_labels, drawn_split = (None if names is None else taken(names, rows) for names in (labels, split))
    warnings += [*notes, *_too_little(len(rows), old, new, drawn_labels)]
    return PairedVectors(
        ids, old_vectors, new_vectors, drawn_labels, drawn_split, old.space, new.space, counts, warnings
    )


# --- ids ------------------------------------------------------------------------------------------------------------


def _join(old: VectorFile, new: VectorFile) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row of each shared id in the old and in the new file, both `(paired,)`, in ascending order of the ids."""
    if pa.types.is_integer(old.ids.type) != pa.types.is_integer(new.ids.type):
        found = f"ids of {old.path} are {_kind(old.ids)} and ids of {new.path} are {_kind(new.ids)}"
        raise VectorError(f"{found}: write both as text or both as integers")
    old_rows, new_rows = joined(old.ids, new.ids)
    if not len(old_rows):
        found = f"{old.path} has {_first(old.ids)}, {new.path} has {_first(new.ids)}"
        raise VectorError(f"the files share no ids: {found}: name the id columns that they have in common")
    return old_rows, new_rows


def _kind(ids: pa.Array) -> str:
    return f"{'integers' if pa.types.is_integer(ids.type) else 'text'} such as {ids[0].as_py()!r}"


def _first(ids: Iterable[Any]) -> str:
    """The first ids, as a message names them."""
    named = [str(name) for _, name in zip(range(NAMED + 1), ids, strict=False)]
    return ", ".join(named[:NAMED]) + (", ..." if len(named) > NAMED else "")


def _without_partner(ids: pa.Array, side: str, paired: NDArray[np.int64]) -> list[str]:
    alone = np.ones(len(ids), bool)
    alone[paired] = False
    rows = np.flatnonzero(alone)
    if not len(rows):
        return []
    found = f"{len(rows)} of {len(ids)} {side} ids are not in the other file and are left out"
    return [f"{found}: {_first(taken(ids, rows[: NAMED + 1]))}"]


def _at(names: pa.DictionaryArray | None, rows: NDArray[np.int64]) -> pa.DictionaryArray | None:
    return None if names is None else names.take(pa.array(rows))


def _agreed(
    what: str,
    old: VectorFile,
    new: VectorFile,
    rows: NDArray[np.int64],
    one: pa.DictionaryArray | None,
    other: pa.DictionaryArray | None,
) -> pa.DictionaryArray | None:
    """Labels or parts `(paired,)` of the file that has them; where both have them they must agree."""
    if one is None or other is None:
        return other if one is None else one
    apart = differing(one, other)
    if len(apart):
        row = int(apart[0])
        found = f"{len(apart)} of {len(rows)} shared ids have another {what} in {old.path} than in {new.path}"
        names = f"{one[row].as_py()!r} and {other[row].as_py()!r}"
        raise VectorError(f"{found}, the first is {old.ids[int(rows[row])]}: {names}: give an item one {what}")
    return one


# --- models ---------------------------------------------------------------------------------------------------------


def _refuse_one_space(old: VectorFile, new: VectorFile) -> None:
    if old.path.is_file() and new.path.is_file() and old.path.samefile(new.path):
        raise SpaceError(f"{old.path} was given as old and as new: give the vectors of two models")
    if new.space.fingerprint in old.space.backward_compatible_with:
        found = f"the model of {old.path} was trained to be compatible with that of {new.path}"
        raise SpaceError(f"the files look swapped: {found}: give {new.path} as the old one")
    if old.space.fingerprint == new.space.fingerprint:
        found = f"{old.path} and {new.path} have one fingerprint, {old.space.fingerprint[:8]}"
        raise SpaceError(f"{found}: of one model there is nothing to upgrade; of two, give each its own fingerprint")


def _refuse_one_model(
    old: VectorFile, new: VectorFile, old_vectors: NDArray[np.float32], new_vectors: NDArray[np.float32]
) -> None:
    if np.array_equal(old_vectors, new_vectors):
        raise VectorError(f"vectors of {old.path} and {new.path} are identical: there is nothing to upgrade")


def _look_swapped(old: VectorFile, new: VectorFile) -> list[str]:
    one, other = old.path.stem.lower(), new.path.stem.lower()
    if "new" in one and "old" not in one and "old" in other and "new" not in other:
        return [f"the files look swapped by their names: {old.path.name} was given as old, {new.path.name} as new"]
    return []


# --- vectors --------------------------------------------------------------------------------------------------------


def _usable(
    ids: NDArray[Any], one: dict[str, NDArray[np.bool_]], other: dict[str, NDArray[np.bool_]]
) -> tuple[NDArray[np.bool_], dict[str, int], list[str]]:
    """Which pairs to keep `(pairs,)`, how many are left out for the first problem of either side, and warnings."""
    kept = np.ones(len(ids), bool)
    left_out, warnings = {}, []
    for problem, words in _PROBLEMS.items():
        rows = kept & (one[problem] | other[problem])
        kept &= ~rows
        left_out[problem] = int(rows.sum())
        if rows.any():
            sides = f"{int((rows & one[problem]).sum())} old, {int((rows & other[problem]).sum())} new"
            found = f"{left_out[problem]} of {len(ids)} pairs have a vector that is {words} ({sides})"
            warnings.append(f"{found} and are left out: {_first(ids[rows])}")
    if kept.sum() * 2 < len(ids):
        found = "; ".join(warnings).replace(" and are left out", "")
        raise VectorError(
            f"more than half of the pairs cannot be used: {found}: embed these items again, or correct the space card"
        )
    return kept, left_out, warnings


_PROBLEMS = {
    "left_out_not_finite": "null, NaN or infinite",
    "left_out_zero": "all zero",
    "left_out_not_unit": "not of unit length although its space is normalised",
}


def problems_of(space: Space, vectors: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
    """Which vectors `(rows, dim)` cannot be used, `(rows,)` by problem."""
    length = norms(vectors)
    return {
        "left_out_not_finite": ~np.isfinite(length),
        "left_out_zero": length == 0,
        "left_out_not_unit": space.normalised & ~(np.abs(length - 1) <= NORM_TOLERANCE),
    }


def _too_little(pairs: int, old: VectorFile, new: VectorFile, labels: NDArray[np.str_] | None) -> list[str]:
    warnings = []
    dim = max(old.dim, new.dim)
    if pairs < dim:
        warnings.append(f"{pairs} pairs are fewer than the {dim} numbers of a vector: a fit on them is loose")
    if labels is not None and (labels == labels[0]).all():
        warnings.append(f"all pairs have the label {str(labels[0])!r}: one class cannot tell right from wrong")
    return warnings
