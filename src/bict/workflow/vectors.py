"""Vectors of two models, from files or from memory, for the commands that start from them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bict.assessment.pairing import PairedVectors, pair_files
from bict.assessment.space_card import write_space_card
from bict.assessment.vector_file import VectorFile, in_memory, open_vector_file
from bict.embeddings import Embeddings
from bict.errors import SettingsError

Vectors = Path | Embeddings


class VectorSettings(BaseModel):
    """How files of vectors are read, and what is known of their spaces; Embeddings say all of it themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id_column: str = Field("id", description="column of the ids, by which rows are paired")
    vector_column: str = Field("vector", description="column of the vectors")
    label_column: str = Field("label", description="column of the class names, where there is one")
    split_column: str = Field(
        "split", description="column that says query or gallery of the rows to judge on, where there is one"
    )
    old_name: str | None = Field(None, description="name of the old model (default: of its card, or of the file)")
    new_name: str | None = Field(None, description="name of the new model, the same")
    old_fingerprint: str | None = Field(
        None, description="16 to 64 hexadecimal digits that identify the old model (default: of the file's content)"
    )
    new_fingerprint: str | None = Field(None, description="the same of the new model")
    metric: Literal["cosine", "dot", "l2"] = Field("cosine", description="how both compare, where no card says it")
    max_pairs: int = Field(200_000, ge=1, description="of more pairs so many are drawn at random")


def read_pairs(old: Vectors, new: Vectors, settings: VectorSettings, *, seed: int) -> PairedVectors:
    """The items that both models embedded.

    Raises:
        BictError: a file cannot be used, or the two do not pair.
    """
    if seed < 0:
        raise SettingsError(f"--seed {seed}: expected 0 or more")
    roles, names = ("old", "new"), (settings.old_name, settings.new_name)
    fingerprints = (settings.old_fingerprint, settings.new_fingerprint)
    with ThreadPoolExecutor(2) as pool:  # Arrow reads and sorts without Python's lock
        sides = list(pool.map(partial(_open, settings), (old, new), roles, names, fingerprints))
    return pair_files(*sides, max_pairs=settings.max_pairs, seed=seed)


def write_cards(directory: Path, pairs: PairedVectors) -> None:
    """Write `old.space.json` and `new.space.json`, for `bict gallery adopt --space` and the like.

    Raises:
        RunError: the directory cannot be written.
    """
    write_space_card(pairs.old_space, directory / "old.space.json")
    write_space_card(pairs.new_space, directory / "new.space.json")


def _open(
    settings: VectorSettings, vectors: Vectors, role: str, name: str | None, fingerprint: str | None
) -> VectorFile:
    if isinstance(vectors, Embeddings):
        return in_memory(vectors, role)
    columns = {key: getattr(settings, key) for key in ("id_column", "vector_column", "label_column", "split_column")}
    return open_vector_file(vectors, **columns, name=name, fingerprint=fingerprint, metric=settings.metric)
