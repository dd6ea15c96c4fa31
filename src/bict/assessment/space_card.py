"""The space of a file of vectors: the card it carries, the one beside it, or one made of its content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bict.embeddings import NORM_TOLERANCE, norms
from bict.errors import SettingsError, SpaceError
from bict.reports.files import save_model
from bict.spaces import Space, fingerprint

CONTENT_TAG = b"bict.vector-file.2"
"""Names the way in which the fingerprint of a file's content is made."""


def card_path(path: str | Path) -> Path:
    """Where the card of a file of vectors lies if the file does not carry it: FILE.space.json."""
    path = Path(path)
    return path.with_name(f"{path.name}.space.json")


def write_space_card(space: Space, path: str | Path) -> Path:
    """Write a space as JSON, in one step; whatever takes a space as a file reads it.

    Raises:
        RunError: the file cannot be written.
    """
    return save_model(space, path)


def find_space(path: Path, stored: str | bytes | None) -> Space | None:
    """The space of a file of vectors: `stored` in it as JSON, else that of the card beside it, else None.

    Raises:
        SpaceError: the card cannot be read.
    """
    where, beside = path, card_path(path)
    try:
        if stored is None and beside.is_file():
            where, stored = beside, beside.read_bytes()
        return None if stored is None else Space.model_validate_json(stored)
    except ValidationError as error:
        problem, cure = _first(error), "write it again, or take it away"
        raise SpaceError(f"the space card in {where} cannot be read ({problem}): {cure}") from error
    except OSError as error:
        raise SpaceError(f"the space card {where} cannot be read: {error.strerror or error}") from error


def make_space(path: Path, rows: int, ids: NDArray[Any], vectors: NDArray[np.float32], given: dict[str, str]) -> Space:
    """A space for a file without a card: what is given, the rest from a sample, so the same content gives the same.

    It is normalised if all vectors of the sample are that are neither zero nor infinite. The fingerprint is that of
    the sample and of the number of rows.

    Args:
        path: of the file; its stem is the name if none is given.
        rows: in the file.
        ids: `(sample,)`.
        vectors: `(sample, dim)`.
        given: some of `name`, `fingerprint` and `metric`.

    Raises:
        SettingsError: what is given cannot be used.
    """
    length = norms(vectors)
    length = length[np.isfinite(length) & (length > 0)]
    parts = (json.dumps([rows, *vectors.shape]).encode(), json.dumps(ids.tolist()).encode())
    made: dict[str, Any] = {
        "name": path.stem,
        "fingerprint": fingerprint(CONTENT_TAG, *parts, vectors.astype("<f4").tobytes()),
        "dim": vectors.shape[1],
        "normalised": bool((np.abs(length - 1) <= NORM_TOLERANCE).all()),
    }
    try:
        return Space.model_validate({**made, **given})
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise SettingsError(f"the {key} {given.get(key)!r} of a space cannot be used: {_first(error)}") from error


def check_space(path: Path, space: Space, dim: int, given: dict[str, str]) -> None:
    """Refuse a card that disagrees with the length of the vectors, or with a given name or fingerprint.

    Raises:
        SpaceError: it does.
    """
    if space.dim != dim:
        raise SpaceError(f"{path}: vectors have {dim} numbers, its space card says {space.dim}: correct the card")
    for key, value in given.items():
        if getattr(space, key) != value:
            found = f"its space card has the {key} {getattr(space, key)!r}, and {value!r} was given"
            raise SpaceError(f"{path}: {found}: leave the {key} out, or correct the card")


def _first(error: ValidationError) -> str:
    return error.errors(include_url=False)[0]["msg"]
