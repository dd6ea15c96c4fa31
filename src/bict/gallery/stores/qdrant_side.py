"""What bict notes about a Qdrant collection, in a second collection beside it: one point of payload per note."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from bict.errors import GalleryError
from bict.gallery.ledger import Entry
from bict.gallery.lock import Owner, beating, lease_is_over, refuse_second, require_held, this_process
from bict.gallery.stores.qdrant_link import Link
from bict.gallery.stores.qdrant_points import NAMESPACE, PointId

METADATA = "metadata"
CREATING = "creating"
SCHEMA = "schema"
LEASE = "lease"
HISTORY = 8
BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0
PAGE = 256


class Side:
    """Notes by name; the collection is made when the first one is written.

    Notes that are `outlived`, which is the store's to find out, count as none, and make room for the first new one.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._there = False
        self.outlived = False
        self._seen: dict[str, Any] | None = None

    def make(self) -> None:
        """The collection, where there is none."""
        from qdrant_client.models import Distance, VectorParams  # noqa: PLC0415

        if self.exists():
            return
        if self.outlived:
            self.remove()
        none = {"none": VectorParams(size=1, distance=Distance.DOT)}  # no point has one
        self._link.ask("making the collection of notes", "create_collection", vectors_config=none)
        if not self._link.local:  # where a server refuses filters on fields without an index
            for field in ("token", "ledger"):
                self._link.change("indexing notes", "create_payload_index", field_name=field, field_schema="keyword")

    def exists(self) -> bool:
        """Whether there is a note."""
        self._there = self._there or self._link.exists()
        return self._there and not self.outlived

    def remove(self) -> None:
        """Remove all notes."""
        self._link.ask("removing notes", "delete_collection")
        self._there = self.outlived = False

    def erase_free_pages(self) -> bool:
        """In a folder, write the notes anew without what was removed; whether that could be done."""
        return not self.exists() or self._link.erase_free_pages()

    def read(self, name: str) -> dict[str, Any] | None:
        """A note, None where there is none of this name."""
        if not self.exists():
            return None
        found = self._link.ask("reading notes", "retrieve", ids=[_point(name)], with_payload=True)
        return found[0].payload if found else None

    def write(self, name: str, note: Mapping[str, Any], *, new: bool = False) -> None:
        """Write a note, in place of an older one unless only a `new` one is wanted."""
        from qdrant_client.models import PointStruct, UpdateMode  # noqa: PLC0415

        self.make()
        point = PointStruct(id=_point(name), vector={}, payload=dict(note))
        mode = {"update_mode": UpdateMode.INSERT_ONLY} if new else {}
        self._link.change("writing notes", "upsert", points=[point], **mode)

    def swap(self, name: str, token: str | None, note: Mapping[str, Any]) -> None:
        """Change a note in one step, if it holds this token still."""
        self._link.change("writing notes", "set_payload", payload=dict(note), points=_holding(name, token))

    def erase(self, name: str, token: str | None = None) -> None:
        """Remove a note, if it holds this token still."""
        from qdrant_client.models import FilterSelector  # noqa: PLC0415

        if self.exists():
            one = FilterSelector(filter=_holding(name, token))
            self._link.change("removing notes", "delete", points_selector=one)

    @property
    def document(self) -> str | None:
        """The metadata document as it was read last."""
        return None if self._seen is None else str(self._seen["text"])

    def read_metadata(self) -> str | None:
        """The metadata document, which the next `write_metadata` builds upon."""
        self.outlived = False
        self._seen = self.read(METADATA)
        return self.document

    def set_outlived(self) -> None:
        """Count the notes as none: they are about an earlier collection of the same name."""
        self.outlived, self._seen = True, None

    def write_metadata(self, text: str) -> None:
        """Replace the document, if it is the one read last.

        Raises:
            GalleryError: it was changed since.
        """
        token, seen = uuid.uuid4().hex, self._seen
        if seen is None:
            self.write(METADATA, {"text": text, "token": token, "tokens": [token]}, new=True)
        else:
            note = {"text": text, "token": token, "tokens": [token, *seen["tokens"]][:HISTORY]}
            self.swap(METADATA, seen["token"], note)
        now = self.read(METADATA)
        if now is None or token not in now["tokens"]:  # it may have been replaced already, by one who read it
            raise GalleryError(f"{self._link.place.shown} was changed by another process meanwhile: run again")
        self._seen = now

    def entries(self, column: str) -> Iterator[dict[str, Any]]:
        """The ledger entries of a column."""
        offset = None
        while self.exists():
            found, offset = self._link.ask(
                "reading the ledger", "scroll", scroll_filter=_of_ledger(column), limit=PAGE, offset=offset
            )
            yield from (record.payload.get("entry") for record in found)
            if offset is None:
                return

    def starts(self, column: str) -> list[PointId] | None:
        """Where the units of a column but the first begin, None where that is not written down."""
        note = self.read(units_of(column))
        return None if note is None else list(note["starts"])

    def write_starts(self, column: str, starts: Sequence[PointId]) -> None:
        """Write down where the units of a column begin."""
        self.write(units_of(column), {"starts": list(starts), "token": uuid.uuid4().hex})

    def join_units(self, column: str, gone: Collection[PointId]) -> None:
        """Join the units that begin with one of these points to those before, and forget what is staged of both."""
        while (note := self.read(units_of(column))) is not None:
            starts = [start for start in note["starts"] if start not in gone]
            if len(starts) == len(note["starts"]):
                self._keep_entries(column, keys_of(starts))
                return
            self.swap(units_of(column), note.get("token"), {"starts": starts, "token": uuid.uuid4().hex})

    def _keep_entries(self, column: str, keys: Iterable[str]) -> None:
        """Remove the ledger entries of all other units."""
        from qdrant_client.models import PointIdsList  # noqa: PLC0415

        found = {str(entry["unit"]) for entry in self.entries(column) if isinstance(entry, dict) and "unit" in entry}
        stale = [_point(entry_of(column, unit)) for unit in found - set(keys)]
        if stale:
            self._link.change("removing notes", "delete", points_selector=PointIdsList(points=list(stale)))

    def forget(self, column: str) -> None:
        """Remove the ledger and the units of a column."""
        from qdrant_client.models import FilterSelector  # noqa: PLC0415

        if self.exists():
            entries = FilterSelector(filter=_of_ledger(column))
            self._link.change("removing the ledger", "delete", points_selector=entries)
            self.erase(units_of(column))


@dataclass(frozen=True)
class SideLedger:
    """The finished units of one column, as notes."""

    side: Side
    column: str
    address: str

    def entries(self) -> dict[str, Entry]:
        """The entry of each unit."""
        try:
            found = [Entry.model_validate(entry) for entry in self.side.entries(self.column)]
        except (ValidationError, KeyError, TypeError) as error:
            raise GalleryError(
                f"the ledger of {self.column!r} in {self.address} is damaged: discard the column and stage it again"
            ) from error
        return {entry.unit: entry for entry in found}

    def record(self, entry: Entry) -> None:
        """One note, written when this returns; none of a unit that was joined to another since: it is staged again."""
        require_held(self.address)
        name = entry_of(self.column, entry.unit)
        if self._is_current(entry):
            self.side.write(name, {"ledger": self.column, "entry": entry.model_dump()})
        if not self._is_current(entry):  # by a deletion that came in between
            self.side.erase(name)

    def _is_current(self, entry: Entry) -> bool:
        starts = self.side.starts(self.column)
        return starts is not None and entry.unit in keys_of(starts)


@contextmanager
def leased(side: Side, doing: str, address: str) -> Iterator[None]:
    """Hold the lease of a collection, renewed by a thread until this ends.

    A process that slept through its lease is refused when it next writes to a ledger.

    Raises:
        GalleryError: another process holds it, and it is neither dead nor silent for a minute.
    """
    token = _take_lease(side, this_process(doing), address)
    try:
        with beating(
            address,
            lambda: (side.read(LEASE) or {}).get("token") == token,
            lambda: side.swap(LEASE, token, {"beat": time.time()}),
            BEAT_SECONDS,
        ):
            yield
    finally:
        with suppress(GalleryError):  # it ends by itself
            side.erase(LEASE, token)


def _take_lease(side: Side, owner: Owner, address: str) -> str:
    token = uuid.uuid4().hex
    note = {"token": token, "owner": owner.model_dump_json(), "beat": time.time()}
    held = side.read(LEASE)
    if held is None:
        side.write(LEASE, note, new=True)
    elif lease_is_over(held, DEAD_SECONDS):
        side.swap(LEASE, held["token"], note)
    now = side.read(LEASE)
    if now is None or now["token"] != token:
        raise refuse_second(address, str((now or held or {}).get("owner", "")))
    return token


def units_of(column: str) -> str:
    """The name of the note that holds where the units of a column begin."""
    return f"units/{column}"


def entry_of(column: str, unit: str) -> str:
    """The name of the note that is the ledger entry of a unit."""
    return f"entry/{column}/{unit}"


def keys_of(starts: Sequence[PointId]) -> list[str]:
    """The key of each unit: the first point, and the one after the last."""
    return [f"{start}..{end}" for start, end in pairwise(["", *map(str, starts), ""])]


def _point(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name))


def _holding(name: str, token: str | None) -> Any:  # noqa: ANN401
    from qdrant_client.models import FieldCondition, Filter, HasIdCondition, MatchValue  # noqa: PLC0415

    must: list[Any] = [HasIdCondition(has_id=[_point(name)])]
    if token is not None:
        must.append(FieldCondition(key="token", match=MatchValue(value=token)))
    return Filter(must=must)


def _of_ledger(column: str) -> Any:  # noqa: ANN401
    from qdrant_client.models import FieldCondition, Filter, MatchValue  # noqa: PLC0415

    return Filter(must=[FieldCondition(key="ledger", match=MatchValue(value=column))])
