"""What a transform says about itself on disk: a strict, versioned JSON card."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bict.errors import TransformError
from bict.spaces import Space

SCHEMA_VERSION: Literal[1] = 1
Direction = Literal["old vectors -> new space", "new queries -> old space"]
FORWARD: Direction = "old vectors -> new space"
BRIDGE: Direction = "new queries -> old space"


class RungScore(BaseModel):
    """How one rung did on the held-out images.

    Attributes:
        name: of the rung.
        map: mean average precision, query = new vectors, gallery = psi(old vectors); None where it was not measured.
            To be found are items of the query's label, or under `neighbour_map` the new model's own ten nearest.
        map_interval: 95 % bootstrap interval of `map` over queries.
        neighbour_recall: share of the new model's own nearest neighbours found; in the place of `map` without labels.
        neighbour_recall_interval: 95 % bootstrap interval of it.
        seconds: time of the fit.
        note: why the rung was skipped, else empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str
    map: float | None = None
    map_interval: tuple[float, float] | None = None
    neighbour_recall: float | None = None
    neighbour_recall_interval: tuple[float, float] | None = None
    seconds: float = 0.0
    note: str = ""

    @property
    def score(self) -> float | None:
        """What the choice is made by: `map`, else `neighbour_recall`, else None for a skipped rung."""
        return self.neighbour_recall if self.map is None else self.map


class Ladder(BaseModel):
    """How the rung was chosen.

    Attributes:
        chosen: name of the rung with the best score; the earlier one of equals.
        measure: what the rungs were judged by.
        pairs: images the chosen rung was fitted on in the end, the held-out ones included.
        views: views of each image.
        held_out_classes: classes kept away from the fits that were judged; None without labels.
        held_out_images: images kept away from the fits that were judged: the gallery of the judgement.
        queries: how many of them were queries.
        rungs: the scores, in the order asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    chosen: str
    measure: Literal["map", "neighbour_map", "neighbour_recall"]
    pairs: int
    views: int
    held_out_classes: int | None
    held_out_images: int
    queries: int
    rungs: tuple[RungScore, ...]


class TransformCard(BaseModel):
    """`transform.json`: what the weights beside it are, and what they may be applied to.

    Attributes:
        schema_version: of this card.
        direction: which way the map goes.
        rung: name of the rung.
        settings: its hyperparameters.
        source: space of the vectors it takes.
        target: space of the vectors it gives.
        digest: SHA-256 over direction, rung, settings, weights and both spaces.
        data_hash: SHA-256 of the pairs it was fitted on, where known.
        scores: how the rung was chosen, where it was.
        created: UTC time, ISO 8601.
        bict_version: of the writer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    schema_version: Literal[1] = SCHEMA_VERSION
    direction: Direction = FORWARD
    rung: str
    settings: dict[str, Any]
    source: Space
    target: Space
    digest: str
    data_hash: str | None
    scores: Ladder | None
    created: str
    bict_version: str


def parse_card(text: str, where: str) -> TransformCard:
    """The card in a JSON text.

    Raises:
        TransformError: it is no card, or one of a newer schema.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise TransformError(f"{where} is not JSON ({error}): restore it, or fit the transform again") from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise TransformError(f"{where} has schema {version}, this bict reads up to {SCHEMA_VERSION}: upgrade bict")
    try:
        return TransformCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the card"
        raise TransformError(f"{where} is no transform card: {field}: {first['msg']}") from error
