"""Reading and writing the points of a Qdrant collection as rows."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bict.embeddings import arrow_to_vectors
from bict.errors import GalleryError
from bict.gallery.stores.base import BATCH_ROWS, check_finite
from bict.gallery.stores.qdrant_link import Link
from bict.gallery.stores.qdrant_points import (
    FLOATS_AT_ONCE,
    ID_KEY,
    ROWS_AT_ONCE,
    PointId,
    infer_fields,
    order_of,
    plain_id,
    point_id,
    row_id,
    to_batch,
    to_points,
)
from bict.gallery.stores.qdrant_side import SCHEMA, Side

if TYPE_CHECKING:
    from qdrant_client.models import Filter, Record, VectorParams

Span = tuple[PointId | None, PointId | None]
ID_COLUMN = "id"
SAMPLE_ROWS = 100
IDS_AT_ONCE = 10_000
PLAIN_KEY = re.compile(r"\w+")
NOTHING: dict[str, Any] = {"with_payload": False, "with_vectors": False}


@dataclass(frozen=True)
class Columns:
    """Some columns: their fields, which of them are vectors, and what to ask the client for."""

    fields: tuple[pa.Field, ...]
    vectors: frozenset[str]

    @property
    def wanted(self) -> dict[str, Any]:
        """Arguments of a reading request."""
        keys = [
            ID_KEY if field.name == ID_COLUMN else field.name for field in self.fields if field.name not in self.vectors
        ]
        simple = all(PLAIN_KEY.fullmatch(key) for key in keys)  # others would be read as paths
        payload: bool | list[str] = (keys if simple else True) if keys else False
        return {"with_vectors": sorted(self.vectors) or False, "with_payload": payload}

    @property
    def rows_at_once(self) -> int:
        """How many points one answer should hold."""
        width = sum(field.type.list_size for field in self.fields if field.name in self.vectors)
        return max(64, min(BATCH_ROWS, 2 * FLOATS_AT_ONCE // max(1, int(width))))

    def batch(self, records: Sequence[Record]) -> pa.RecordBatch:
        """Points as rows."""
        return to_batch(records, self.fields, ID_COLUMN, self.vectors)


class Collection:
    """The points of a collection, by id."""

    def __init__(self, link: Link, side: Side) -> None:
        self._link = link
        self._side = side
        self._noted: pa.Schema | None = None

    def named(self) -> dict[str, VectorParams]:
        """The dense vectors that points may have, by name.

        Raises:
            GalleryError: the only vector has no name.
        """
        from qdrant_client.models import VectorParams  # noqa: PLC0415

        vectors = self._link.ask("reading its settings", "get_collection").config.params.vectors or {}
        if isinstance(vectors, VectorParams) or "" in vectors:
            raise GalleryError(
                f"{self._link.place.shown} is not a gallery: its points have a vector without a name, beside which no "
                "other can be put; copy them into a collection with a named vector"
            )
        return {name: params for name, params in vectors.items() if params.multivector_config is None}

    def described(self, name: str) -> str | None:
        """What there is of this name, None where nothing is."""
        params, plain = self._link.ask("reading its settings", "get_collection").config.params, self.ids_and_payload()
        if name in (params.vectors or {}):
            found = params.vectors[name]
            kind = "multivectors" if found.multivector_config else "vectors"
            return f"{kind} of {found.size} numbers, distance {found.distance.value}"
        if name in (params.sparse_vectors or {}):
            return "sparse vectors"
        return f"payload of type {plain.field(name).type}" if name in plain.names else None

    def note_schema(self, schema: pa.Schema, unit_rows: int) -> None:
        """Write down the types of ids and payload, and how many points make a unit."""
        text = base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()
        self._side.write(SCHEMA, {"arrow": text, "unit_rows": unit_rows})

    def ids_and_payload(self) -> pa.Schema:
        """Types of ids and payload: as noted, or as the first points have them."""
        if self._noted is None:
            note = self._side.read(SCHEMA)
            if note is None:
                return self._inferred()
            self._noted = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(note["arrow"])))
        return self._noted

    def _inferred(self) -> pa.Schema:
        sample, _ = self._link.ask("reading points", "scroll", limit=SAMPLE_ROWS, with_payload=True)
        known = {ID_COLUMN, *self.named()}
        ids = pa.int64() if sample and isinstance(plain_id(sample[0]), int) else pa.string()
        return pa.schema([pa.field(ID_COLUMN, ids), *(f for f in infer_fields(sample) if f.name not in known)])

    def schema(self) -> pa.Schema:
        """Ids, payload and vectors."""
        vectors = [pa.field(name, pa.list_(pa.float32(), params.size)) for name, params in self.named().items()]
        return pa.schema([*self.ids_and_payload(), *vectors])

    def columns(self, names: Sequence[str]) -> Columns:
        """Some columns.

        Raises:
            GalleryError: there is no such column.
        """
        plain, named = self.ids_and_payload(), self.named()
        fields = []
        for name in names:
            if name in named:
                fields.append(pa.field(name, pa.list_(pa.float32(), named[name].size)))
            elif name in plain.names:
                fields.append(plain.field(name))
            else:
                known = ", ".join((*plain.names, *named))
                raise GalleryError(f"{self._link.place.shown} has no column {name!r}, only {known}")
        return Columns(tuple(fields), frozenset(name for name in names if name in named))

    def count(self, which: Filter | None = None) -> int:
        """How many points a filter lets through."""
        return int(self._link.ask("counting points", "count", count_filter=which, exact=True).count)

    def pages(
        self,
        rows: int,
        wanted: dict[str, Any],
        *,
        which: Filter | None = None,
        span: Span = (None, None),
    ) -> Iterator[list[Record]]:
        """Points from the first of a span on, and before the second."""
        offset: Any
        offset, end = span
        while True:
            found, offset = self._link.ask(
                "reading points", "scroll", limit=rows, offset=offset, scroll_filter=which, **wanted
            )
            inside = found if end is None else [r for r in found if order_of(plain_id(r)) < order_of(end)]
            if inside:
                yield inside
            if offset is None or len(inside) < len(found):
                return

    def ids(self, which: Filter | None = None) -> Iterator[list[PointId]]:
        """The ids of points that a filter lets through."""
        for records in self.pages(IDS_AT_ONCE, NOTHING, which=which):
            yield [plain_id(record) for record in records]

    def row_ids(self, ids: pa.Array | pa.ChunkedArray) -> set[PointId]:
        """These ids, of the type that ids have here."""
        return set(ids.cast(self.ids_and_payload().field(ID_COLUMN).type).to_pylist())

    def find(self, ids: pa.Array | pa.ChunkedArray, wanted: dict[str, Any]) -> list[Record]:
        """The points of the rows with these ids."""
        rows = self.row_ids(ids)
        points, found = list({point_id(value) for value in rows}), []
        for start in range(0, len(points), ROWS_AT_ONCE):
            some = points[start : start + ROWS_AT_ONCE]
            found += self._link.ask("reading points", "retrieve", ids=some, **wanted)
        own = [record for record in found if row_id(record) in rows]
        return sorted(own, key=lambda record: order_of(plain_id(record)))

    def write(self, table: pa.Table) -> None:
        """Put points in the place of those with the same ids, a piece at a time."""
        named = self.named()
        for name in table.column_names:
            if name in named:
                check_finite(arrow_to_vectors(table[name]), name)
        for points in to_points(table, ID_COLUMN, list(named)):
            self._link.change("writing points", "upsert", points=points)
