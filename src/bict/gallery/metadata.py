"""What a gallery says about itself: one JSON document naming its vector columns, their spaces and the active one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bict.errors import GalleryError
from bict.spaces import Space

FORMAT: Literal[1] = 1
METADATA_KEY = "bict.gallery"
VECTOR_COLUMN = re.compile(r"v[1-9][0-9]*")

State = Literal["staging", "staged", "live", "kept", "dropped"]


class Origin(BaseModel):
    """Where upgraded vectors come from: a column of the same gallery, through a transform known by its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    column: str
    transform: str


class Column(BaseModel):
    """One vector column: the space of its vectors and how they were made.

    Attributes:
        generation: position in the chain of upgrades, 1 for the vectors the gallery was created with.
        space: the space of every vector in the column.
        state: "staging" (being written), "staged" (written, not yet switched to), "live" (searched), "kept" (was live
            before, can be rolled back to) or "dropped" (its vectors are gone, its name stays for the record).
        stored_as: name of the column in the store.
        origins: for rows that have a vector in one of these columns, this column holds its transform, the first that
            applies; a row with none of them holds what a model wrote. Empty where a model wrote every row.
        lineage: where the rows came from, as text, noted by `finalize` before it removed columns that told it.
        checked: when `verify` last passed; None again after anything was staged.
        index: what the approximate-nearest-neighbour index on the column is, None without one.
        created: when the column was recorded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    generation: int = Field(ge=1)
    space: Space
    state: State
    stored_as: str = Field(min_length=1)
    origins: tuple[Origin, ...] = ()
    lineage: tuple[str, ...] = ()
    checked: AwareDatetime | None = None
    index: str | None = None
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        """The column's name in the store."""
        return self.stored_as

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns its vectors were made from."""
        return tuple(origin.column for origin in self.origins)


class GalleryMetadata(BaseModel):
    """The vector columns of a gallery, by name, which of them is searched, and which column holds the ids."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = FORMAT
    id_column: str = "id"
    active: str
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = [name for name, column in self.columns.items() if name != column.name]
        live = [name for name, column in self.columns.items() if column.state == "live"]
        if wrong or live != [self.active]:
            raise ValueError(f"active column {self.active!r}, live columns {live}, misnamed columns {wrong}")
        if len([1 for column in self.columns.values() if column.state in ("staging", "staged")]) > 1:
            raise ValueError("more than one column is staged")
        return self

    @property
    def active_column(self) -> Column:
        """The column that is searched."""
        return self.columns[self.active]

    @property
    def staged(self) -> Column | None:
        """The column that is being staged or waits for a switch, if there is one."""
        return next((column for column in self.columns.values() if column.state in ("staging", "staged")), None)

    @property
    def stored(self) -> dict[str, Column]:
        """The columns whose vectors are there, oldest generation first."""
        present = [column for column in self.columns.values() if column.state != "dropped"]
        return {column.name: column for column in sorted(present, key=lambda column: column.generation)}

    @property
    def next_generation(self) -> int:
        """The generation of a column that would be staged now."""
        return max(column.generation for column in self.columns.values()) + 1

    @property
    def previous(self) -> Column | None:
        """The newest kept column older than the live one: what a rollback goes back to."""
        older = [
            column
            for column in self.columns.values()
            if column.state == "kept" and column.generation < self.active_column.generation
        ]
        return max(older, key=lambda column: column.generation, default=None)

    def ancestors(self, column: Column) -> set[str]:
        """The columns that a column was made from, directly or through others."""
        found = set(column.sources)
        for name in column.sources:
            found |= self.ancestors(self.columns[name])
        return found

    def made_by(self, digests: Iterable[str]) -> Column | None:
        """The newest column that these transforms made, if there is one."""
        wanted = set(digests)
        newest_first = sorted(self.stored.values(), key=lambda column: -column.generation)
        return next((c for c in newest_first if {origin.transform for origin in c.origins} == wanted), None)

    def with_column(self, column: Column) -> GalleryMetadata:
        """The same metadata with one column more.

        Raises:
            GalleryError: there is a column of this name.
        """
        if column.name in self.columns:
            raise GalleryError(f"column {column.name!r} was added by another process meanwhile: run again")
        return self._replaced(columns={**self.columns, column.name: column})

    def without(self, name: str) -> GalleryMetadata:
        """The same metadata with one column left out."""
        return self._replaced(columns={k: v for k, v in self.columns.items() if k != name})

    def changed(self, name: str, **changes: object) -> GalleryMetadata:
        """The same metadata with some fields of one column changed."""
        column = self.columns[name].model_copy(update=changes)
        return self._replaced(columns={**self.columns, name: column})

    def switched_to(self, name: str, before: State = "kept") -> GalleryMetadata:
        """The same metadata with another column live, and the one before in state `before`."""
        new = self.columns[name].model_copy(update={"state": "live"})
        old = self.active_column.model_copy(update={"state": before})
        return self._replaced(active=name, columns={**self.columns, old.name: old, name: new})

    def _replaced(self, **changes: object) -> GalleryMetadata:
        return GalleryMetadata.model_validate({**dict(self), **changes})


def first_generation(space: Space, *, stored_as: str = "v1", id_column: str = "id") -> GalleryMetadata:
    """Metadata of a gallery that holds the vectors a model wrote, and no upgrade yet."""
    column = Column(generation=1, space=space, state="live", stored_as=stored_as)
    return GalleryMetadata(active=column.name, columns={column.name: column}, id_column=id_column)


def parse_metadata(text: str | bytes | None, address: str) -> GalleryMetadata:
    """The metadata found at an address.

    Raises:
        GalleryError: there is none, it is of a newer format, or it does not hold together.
    """
    if text is None:
        raise GalleryError(
            f"{address} holds a table without {METADATA_KEY!r} metadata: make it a gallery with bict gallery adopt"
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
