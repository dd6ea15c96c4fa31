"""The identity of an embedding space, and who may be compared with whom."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bict.errors import SpaceError

Comparison = Literal["same space", "backward compatible"]


class Space(BaseModel):
    """Identity of an embedding space: two vectors are comparable only if their spaces say so.

    The fingerprint is a hash over the weights and the preprocessing of the model that made the vectors, so renaming
    a model does not change its space and retraining it does. `backward_compatible_with` lists the fingerprints of
    older spaces whose *gallery* vectors may be searched with *queries* of this space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    fingerprint: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    dim: int = Field(ge=1)
    metric: Literal["cosine", "dot", "l2"] = "cosine"
    normalised: bool = True
    backward_compatible_with: tuple[str, ...] = ()

    def same_as(self, other: Space) -> bool:
        """Whether vectors of both lie in one space; the name and declared compatibilities do not count."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[str, int, str, bool]:
        return self.fingerprint, self.dim, self.metric, self.normalised

    def __str__(self) -> str:
        return f"{self.name} ({self.dim}-d, {self.fingerprint[:8]})"


def compare(query: Space, gallery: Space) -> Comparison:
    """How queries of one space may be compared with gallery vectors of another.

    Raises:
        SpaceError: the spaces differ and the query's space declares no backward compatibility with the gallery's.
    """
    if query.same_as(gallery):
        return "same space"
    declared = gallery.fingerprint in query.backward_compatible_with
    if declared and (query.dim, query.metric) == (gallery.dim, gallery.metric):
        return "backward compatible"
    raise SpaceError(
        f"queries of space {query} cannot be compared with gallery vectors of space {gallery}: "
        "use the model that made the gallery, one trained --compatible-with it, or upgrade the gallery"
    )


def require_same(found: Space, expected: Space, what: str) -> None:
    """Refuse vectors that are not in the expected space.

    Raises:
        SpaceError: the spaces differ, also when their dimensions agree.
    """
    if not found.same_as(expected):
        raise SpaceError(f"{what}: found vectors of space {found}, expected {expected}")


def fingerprint(*parts: bytes) -> str:
    """SHA-256 over length-prefixed parts, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
