"""What a gallery says about itself: one JSON document naming its vector columns, their spaces and the active one."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bict.errors import GalleryError
from bict.spaces import Space

FORMAT: Literal[1] = 1
METADATA_KEY = "bict.gallery"
VECTOR_COLUMN = re.compile(r"v[1-9][0-9]*")

State = Literal["live", "staged", "kept"]


class Column(BaseModel):
    """One vector column: the space of its vectors and how they were made.

    Attributes:
        generation: position in the chain of upgrades, 1 for the vectors the gallery was created with.
        space: the space of every vector in the column.
        state: "live" (searched), "staged" (written, not yet switched to) or "kept" (was live before).
        made_by: digests of the transforms that lead from `base` to this column; empty for a model's own vectors.
        base: the column of a model's own vectors that `made_by` starts from, None where this is one.
        created: when the column was recorded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    generation: int = Field(ge=1)
    space: Space
    state: State
    made_by: tuple[str, ...] = ()
    base: str | None = None
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        """The column's name in the table: `v` and the generation."""
        return f"v{self.generation}"


class GalleryMetadata(BaseModel):
    """The vector columns of a gallery and which of them is searched."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = FORMAT
    active: str
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = [name for name, column in self.columns.items() if name != column.name]
        live = [name for name, column in self.columns.items() if column.state == "live"]
        if wrong or live != [self.active]:
            raise ValueError(f"active column {self.active!r}, live columns {live}, misnamed columns {wrong}")
        return self

    @property
    def active_column(self) -> Column:
        """The column that is searched."""
        return self.columns[self.active]

    @property
    def staged(self) -> Column | None:
        """The column that waits for a switch, if there is one."""
        return next((column for column in self.columns.values() if column.state == "staged"), None)

    @property
    def next_generation(self) -> int:
        """The generation of a column that would be staged now."""
        return max(column.generation for column in self.columns.values()) + 1

    def made_by(self, digest: str) -> Column | None:
        """The newest column whose last transform has this digest, if there is one."""
        newest_first = sorted(self.columns.values(), key=lambda column: -column.generation)
        return next((column for column in newest_first if column.made_by[-1:] == (digest,)), None)

    def source_of(self, column: Column) -> Column | None:
        """The column that the last transform of this one was applied to, if it is still there."""
        for candidate in self.columns.values():
            if candidate.made_by == column.made_by[:-1] and column.base in (candidate.name, candidate.base):
                return candidate
        return None

    def with_column(self, column: Column) -> GalleryMetadata:
        """The same metadata with one column more.

        Raises:
            GalleryError: there is a column of this name.
        """
        if column.name in self.columns:
            raise GalleryError(f"column {column.name!r} was added by another process meanwhile: run again")
        return GalleryMetadata(active=self.active, columns={**self.columns, column.name: column})

    def without(self, name: str) -> GalleryMetadata:
        """The same metadata with one column left out."""
        return GalleryMetadata(active=self.active, columns={k: v for k, v in self.columns.items() if k != name})

    def switched_to(self, name: str) -> GalleryMetadata:
        """The same metadata with another column live and the one before kept."""
        new = self.columns[name].model_copy(update={"state": "live"})
        old = self.active_column.model_copy(update={"state": "kept"})
        return GalleryMetadata(active=name, columns={**self.columns, old.name: old, name: new})


def first_generation(space: Space) -> GalleryMetadata:
    """Metadata of a gallery that holds the vectors a model wrote, and no upgrade yet."""
    column = Column(generation=1, space=space, state="live")
    return GalleryMetadata(active=column.name, columns={column.name: column})


def parse_metadata(text: str | bytes | None, address: str) -> GalleryMetadata:
    """The metadata found at an address.

    Raises:
        GalleryError: there is none, it is of a newer format, or it does not hold together.
    """
    if text is None:
        raise GalleryError(
            f"{address} holds a table without {METADATA_KEY!r} metadata: expected a gallery made by bict"
        )
    try:
        found = json.loads(text)
        version = found.get("format") if isinstance(found, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise GalleryError(
                f"{address} is of gallery format {version}, this bict reads {FORMAT}: install a newer bict"
            )
        return GalleryMetadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise GalleryError(f"{address} has damaged gallery metadata: {where}: {first['msg']}") from error
    except ValueError as error:
        raise GalleryError(f"{address} has damaged gallery metadata: {error}") from error
