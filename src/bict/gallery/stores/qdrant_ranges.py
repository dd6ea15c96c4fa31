"""Units of a Qdrant collection: ranges of its points by id, and the vectors staged in them."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from bict.errors import GalleryError
from bict.gallery.ledger import Entry
from bict.gallery.stores.base import BATCH_ROWS, Unit, source_bytes
from bict.gallery.stores.qdrant_collection import NOTHING, Collection, Span
from bict.gallery.stores.qdrant_link import Link, MissingPoint
from bict.gallery.stores.qdrant_points import PointId, has_vector, order_of, plain_id, to_vectors
from bict.gallery.stores.qdrant_side import SCHEMA, Side, keys_of

if TYPE_CHECKING:
    from qdrant_client.models import Filter, PointVectors

UNIT_ROWS = 20_000
PAGE = 1024
UPDATE_TRIES = 5
UNEQUAL = "one vector per row is needed"


@dataclass
class _Reading:
    """The points of a unit in the order they were read, without those that a vector was written for."""

    unit: str
    points: deque[PointId] = field(default_factory=deque)
    complete: bool = False


class Ranges:
    """The units of a collection; where they begin is noted once for each column, so that new points fall into one."""

    def __init__(self, link: Link, side: Side, points: Collection) -> None:
        self._link = link
        self._side = side
        self._points = points
        self._reading: _Reading | None = None

    def note(self, column: str) -> None:
        """Write down where the units of a column begin, unless that was done."""
        if self._side.starts(column) is not None:
            return
        starts = self._beginnings()
        self._side.write_starts(column, starts)
        left = {plain_id(record) for record in self._link.ask("reading points", "retrieve", ids=starts, **NOTHING)}
        self._side.join_units(column, set(starts) - left)  # deleted before this was written

    def _beginnings(self) -> list[PointId]:
        """The first points of all units but the first, to which everything before belongs."""
        starts: list[PointId] = []
        rows, seen = int((self._side.read(SCHEMA) or {}).get("unit_rows", UNIT_ROWS)), 0
        for page in self._points.ids():
            starts += page[-seen % rows :: rows]
            seen += len(page)
        return starts[1:]

    def _starts(self, column: str) -> list[PointId]:
        starts = self._side.starts(column)
        return self._beginnings() if starts is None else starts

    def _filled(self, starts: Sequence[PointId], which: Filter | None = None) -> list[Unit]:
        """The units in which a filter lets points through, and how many."""
        rows, borders = [0] * (len(starts) + 1), [order_of(start) for start in starts]
        for page in self._points.ids(which):
            for point in page:
                rows[bisect_right(borders, order_of(point))] += 1
        return [Unit(key, number) for key, number in zip(keys_of(starts), rows, strict=True) if number]

    def units(self, column: str) -> list[Unit]:
        """All units."""
        return self._filled(self._starts(column))

    def pending(
        self, column: str, sources: Sequence[str], entries: Mapping[str, Entry], *, only_missing: bool
    ) -> list[Unit]:
        """The units with a point to stage; with `only_missing` no vector is read, and no id where none is missing."""
        named = self._points.named()
        there, own = [name for name in sources if name in named], [column] if column in named else []
        missing = has_vector(there, own)
        if not there or (only_missing and not self._points.count(missing)):
            return []
        starts = self._starts(column)
        units, lacking = self._filled(starts), {unit.key for unit in self._filled(starts, missing)}
        if only_missing:
            return [unit for unit in units if unit.key in lacking]
        with_source = {unit.key for unit in self._filled(starts, has_vector(there))}
        return [
            unit
            for unit in units
            if unit.key in with_source and (unit.key in lacking or not self._is_up_to_date(unit, there, entries))
        ]

    def _is_up_to_date(self, unit: Unit, sources: Sequence[str], entries: Mapping[str, Entry]) -> bool:
        """Whether the ledger lists a unit, with the checksum that its source vectors have now."""
        if unit.key not in entries:
            return False
        digest, chosen = hashlib.sha256(), self._points.columns(sources)
        for records in self._points.pages(PAGE, chosen.wanted, span=_span_of(unit)):
            digest.update(source_bytes(chosen.batch(records), sources))
        return digest.hexdigest() == entries[unit.key].source_sha256

    def read(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The points of a unit, always in pages of the same size: checksums over two sources depend on it."""
        reading = self._reading = _Reading(unit.key)
        chosen = self._points.columns(columns)
        for records in self._points.pages(PAGE, chosen.wanted, span=_span_of(unit)):
            reading.points.extend(map(plain_id, records))
            yield chosen.batch(records)
        reading.complete = True

    def stage(self, unit: Unit, column: str, vectors: Iterable[pa.FixedSizeListArray]) -> None:
        """Write vectors to the points of a unit in the order they were read; where one is null, the point is left."""
        try:
            for block in vectors:
                for some in to_vectors(self._next(unit, len(block)), column, block):
                    self._update(some)
            reading = self._reading_of(unit)
            if reading.points or not reading.complete:
                raise GalleryError(f"fewer vectors were staged than unit {unit.key} has rows: {UNEQUAL}")
        finally:
            self._reading = None

    def _next(self, unit: Unit, rows: int) -> list[PointId]:
        points = self._reading_of(unit).points
        if rows > len(points):
            raise GalleryError(f"more vectors were staged than unit {unit.key} has rows: {UNEQUAL}")
        return [points.popleft() for _ in range(rows)]

    def _reading_of(self, unit: Unit) -> _Reading:
        """What was read last, if it was this unit, else its points as they are now."""
        if self._reading is None or self._reading.unit != unit.key:
            pages = self._points.pages(BATCH_ROWS, NOTHING, span=_span_of(unit))
            self._reading = _Reading(unit.key, deque(plain_id(record) for page in pages for record in page), True)
        return self._reading

    def _update(self, points: list[PointVectors]) -> None:
        """Write vectors to those points that are still there; a point that is gone does not come back."""
        for _ in range(UPDATE_TRIES):
            with suppress(MissingPoint):
                self._link.change("writing vectors", "update_vectors", points=points)
                return
            ids = [point.id for point in points]
            left = {record.id for record in self._link.ask("reading points", "retrieve", ids=ids, **NOTHING)}
            points = [point for point in points if point.id in left]
            if not points:
                return
        raise GalleryError(f"points of {self._link.place.shown} are deleted faster than vectors are written: run again")


def _span_of(unit: Unit) -> Span:
    """The first point of a unit, and the one after its last; None where it is open."""
    start, _, end = unit.key.partition("..")
    first, after = (int(text) if text.isdigit() else text or None for text in (start, end))
    return first, after
