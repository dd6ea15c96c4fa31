"""`bict doubtful`: which upgraded vectors are least to be trusted, for those who may still read some images."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bict.assessment.confidence import CARD, ErrorModel
from bict.assessment.names import taken
from bict.assessment.pairing import problems_of
from bict.assessment.vector_file import VectorFile, open_vector_file
from bict.embeddings import Embeddings
from bict.errors import RunError, SettingsError, SpaceError, VectorError
from bict.progress import Progress, silent
from bict.spaces import Space, require_same
from bict.workflow.gallery import read_space

ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Doubtful:
    """A list of items, the least certain first.

    Attributes:
        out: the file.
        items: listed.
        rows: looked at.
        left_out: of them, zero, not finite, or not of unit length where the space is: no transform carries these.
        first: expected 1 - cosine between upgraded and new vector of the first item.
        median: of all items.
    """

    out: Path
    items: int
    rows: int
    left_out: int
    first: float
    median: float


def doubtful(
    transform: Path,
    vectors: Path,
    *,
    out: Path,
    share: float = 1.0,
    space: Path | None = None,
    id_column: str = "id",
    vector_column: str = "vector",
    progress: Progress = silent,
) -> Doubtful:
    """List the items whose upgraded vector is expected to be most wrong, from their old vectors alone.

    Those are the ones to embed again first, where some images may still be read. The list is a CSV of id and
    predicted_error, 1 - cosine, largest first.

    Args:
        transform: directory that `bict fit` wrote from two files of vectors.
        vectors: file of old vectors; `bict gallery export` makes one of a gallery.
        out: the list, a .csv file.
        share: of the items to list, above 0 and at most 1.
        space: JSON file of the vectors' space, such as old.space.json of the transform, where the file has no card.
        id_column: column of the ids.
        vector_column: column of the vectors.
        progress: called with rows done and rows in all.

    Raises:
        BictError: the transform has no model of its errors, or the vectors are not of its old space.
    """
    if not 0 < share <= 1:
        raise SettingsError(f"--share {share}: expected above 0 and at most 1")
    if not (Path(transform) / CARD).is_file():
        raise RunError(
            f"{transform} holds no model of its errors: fit a transform, not a bridge, from two files of vectors"
        )
    errors = ErrorModel.load(transform)
    file = open_vector_file(vectors, id_column=id_column, vector_column=vector_column)
    given = _space(file, space, transform)
    require_same(given, errors.space_, f"{transform} predicts the errors of old vectors")
    predicted = np.full(len(file), np.nan)
    for start in range(0, len(file), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(file)))
        read = file.read(rows)
        usable = ~np.any(list(problems_of(given, read).values()), axis=0)
        if usable.any():
            predicted[rows[usable]] = errors.predict(Embeddings(taken(file.ids, rows[usable]), read[usable], given))
        progress(int(rows[-1]) + 1, len(file))
    left_out = int(np.isnan(predicted).sum())
    if left_out == len(file):
        raise VectorError(
            f"no vector of {vectors} can be used: all are zero, not finite, or not of the length they say"
        )
    order = np.argsort(-predicted, kind="stable")[: max(1, round(share * (len(file) - left_out)))]
    ids = taken(file.ids, order)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", newline="") as listing:
            lines = csv.writer(listing)
            lines.writerow(("id", "predicted_error"))
            lines.writerows((name, f"{predicted[row]:.6f}") for name, row in zip(ids, order, strict=True))
        part.replace(out)
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror or error}): choose another --out") from error
    median = float(np.nanmedian(predicted))
    return Doubtful(out, len(order), len(file), left_out, float(predicted[order[0]]), median)


def _space(file: VectorFile, named: Path | None, transform: Path) -> Space:
    """The space of the vectors: the one their file declares, else the one that is named.

    Raises:
        SpaceError: the file declares another than the named one, or none and none is named.
    """
    if file.declared:
        if named is not None:
            require_same(file.space, read_space(named), f"--space {named} is not what {file.path} says of itself")
        return file.space
    if named is None:
        raise SpaceError(
            f"{file.path} does not say which space its vectors are of: if they are old ones, add "
            f"--space {transform}/old.space.json"
        )
    return read_space(named)
