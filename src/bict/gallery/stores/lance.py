"""A gallery in a folder, as one LanceDB table."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.errors import GalleryError, RowsChanged, VectorError
from bict.gallery.ledger import Entry, Ledger
from bict.gallery.metadata import METADATA_KEY
from bict.gallery.stores.base import (
    BATCH_ROWS,
    Hits,
    Reach,
    Unit,
    check_vector_columns,
    only_vectors,
    require_staged,
)
from bict.gallery.stores.lance_files import (
    AHEAD,
    STAGED,
    commit_merge,
    is_vector,
    live_offsets,
    may_hold,
    remove_unused,
    rewrite_all,
    spread,
    stamp,
    sweep,
    unit_key,
    with_staged,
    write_file,
)
from bict.gallery.stores.lance_index import build_index, copies_of, index_work, indexes_of, measured_by
from bict.gallery.stores.lance_ledgers import listed_files, read_stamps, stale_files, write_stamps
from bict.gallery.stores.lance_search import rows_with, search_exactly, search_index
from bict.gallery.stores.lance_tables import (
    UNREADABLE,
    WORK,
    absolute,
    changing,
    not_opened,
    parse_address,
    presence,
    reader_of,
    reading,
    refuse_occupied,
    require_table,
)
from bict.progress import Progress, silent

if TYPE_CHECKING:
    import lance
    from lance.fragment import LanceFragment

COMMIT_TRIES = 20


class LanceStore:
    """Rows in Lance fragments: a unit is a fragment, a staged unit is one more data file of it.

    A new column first exists as nulls (metadata only). Its data files are written beside the others and become
    readable together, in one commit. Lance is imported when a store is first created or opened. The address is a
    folder, with `?table=NAME` for another table than `vectors`.
    """

    units_at_once = 2  # one waits for the disk while the other computes

    def __init__(self, address: str) -> None:
        self.address, self.id_column = address, "id"
        self._folder, table = parse_address(address)
        self.place = f"{absolute(self._folder.uri)}?{urlencode({'table': table})}"
        self._path = self._folder / f"{table}.lance"
        self._work = self._folder / WORK / table
        self._data = self._refresh()
        self._read = self._data.schema_metadata.get(METADATA_KEY)

    @classmethod
    def create(cls, address: str, tables: Iterable[pa.Table], metadata: str, *, unit_rows: int) -> Self:
        """Write tables of one schema as a new gallery; what was written is removed when a table is refused."""
        import lance  # noqa: PLC0415

        folder, table = parse_address(address)
        refuse_occupied(folder, address)
        stream = iter(tables)
        first = next(stream, None)
        if first is None or not len(first):
            raise GalleryError(f"nothing to store in {address}: expected at least one row")
        first = first.replace_schema_metadata({METADATA_KEY: metadata})
        path = folder / f"{table}.lance"
        with (folder / WORK / table).locked("create", address):
            refuse_occupied(folder, address)  # by another process, while the first rows were made
            try:
                with changing(address), reader_of(first, stream) as reader:
                    lance.write_dataset(reader, path.uri, max_rows_per_file=unit_rows)
            except BaseException:
                with suppress(GalleryError):
                    path.remove_all()
                raise
        return cls(address)

    @classmethod
    def open(cls, address: str) -> Self:
        """An existing table in a folder."""
        folder, table = parse_address(address)
        require_table(folder, f"{table}.lance", address)
        return cls(address)

    def reach(self) -> Reach:
        """The folder, where it is on a disk: what Lance itself opens is beyond Python."""
        return self._folder.reach

    def _refresh(self) -> lance.LanceDataset:
        import lance  # noqa: PLC0415

        try:  # a fresh handle: one that lived through a commit may hold dictionaries that the next commit refuses
            self._data = lance.dataset(self._path.uri)
        except (OSError, ValueError) as error:
            raise not_opened(self.address, error) from error
        return self._data

    def read_metadata(self) -> str | None:
        """The metadata document of the newest version, which the next `write_metadata` builds upon."""
        self._read = self._refresh().schema_metadata.get(METADATA_KEY)
        return self._read

    def write_metadata(self, text: str) -> None:
        """One metadata commit on the version that still holds the document last read."""
        if self._refresh().schema_metadata.get(METADATA_KEY) != self._read:
            raise GalleryError(f"the metadata of {self.address} was changed by another process: run again")
        with changing(self.address):
            self._data.update_schema_metadata({METADATA_KEY: text})
        self._read = text

    def publish(self, text: str, column: str, sources: Sequence[str]) -> None:
        """One metadata commit; taken back at once where another process's rows came in between."""
        before = self._read
        require_staged(self, column, sources)
        checked = self._data.version
        self.write_metadata(text)
        if before is None or self._refresh().version == checked + 1:
            return
        try:
            require_staged(self, column, sources)
        except GalleryError:
            self.write_metadata(before)
            raise

    def schema(self) -> pa.Schema:
        """The newest schema."""
        return self._refresh().schema

    def count(self) -> int:
        """How many rows there are."""
        with reading(self.address):
            return int(self._refresh().count_rows())

    def count_missing(self, present: Sequence[str], absent: Sequence[str]) -> int:
        """One filtered count."""
        with reading(self.address):
            return int(self._refresh().count_rows(filter=presence(present, absent)))

    def append(self, table: pa.Table) -> None:
        """Add rows as new fragments, in one commit; two writers of bict take turns, so that no id is added twice."""
        import lance  # noqa: PLC0415

        check_vector_columns(table)
        with self._work.writing(), changing(self.address, passed=VectorError):
            known = self.fetch(table[self.id_column], [])[self.id_column]
            if len(known):
                raise VectorError(f"id {known[0].as_py()!r} is in {self.address} already: ids must be unique")
            lance.write_dataset(table.replace_schema_metadata(None), self._refresh(), mode="append")

    def replace(self, table: pa.Table) -> None:
        """One merge commit: matching rows move to a new fragment."""
        check_vector_columns(table)
        schema = self.schema().remove_metadata()
        columns = [
            table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
            for field in schema
        ]
        merge = self._data.merge_insert(self.id_column).when_matched_update_all().when_not_matched_insert_all()
        with changing(self.address):
            merge.execute(pa.table(columns, schema=schema))

    def delete(self, ids: pa.Array) -> int:
        """Delete rows, write the files they were in anew without them, and remove the versions that held them.

        What was staged but not committed for these files is removed too, and will be staged again.
        """
        kind = self.schema().field(self.id_column).type
        known = self.fetch(ids.cast(kind), []).select([self.id_column])
        if len(known):
            self._commit(lambda data: data.merge_insert(self.id_column).when_matched_delete().execute(known))
        self._rewrite()  # also where an earlier call was killed before it came to this
        return len(known)

    def scan(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows, fragment after fragment."""
        with reading(self.address):
            yield from self._refresh().to_batches(columns=list(columns), batch_size=batch_rows, **AHEAD)

    def fetch(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The rows with these ids, found in one pass over the ids."""
        with reading(self.address):
            data = self._refresh()
            return data.take(rows_with(data, self.id_column, ids), columns=[self.id_column, *columns])

    def search(self, column: str, queries: NDArray[np.float32], k: int, metric: str, *, exact: bool = True) -> Hits:
        """One pass over the column, or a few partitions of its index; once more where a version vanished meanwhile."""
        way = search_exactly if exact or not indexes_of(self._refresh(), column) else search_index
        try:
            return way(self._refresh(), self.id_column, column, queries, k, metric)
        except UNREADABLE:
            self._refresh()
        with reading(self.address):
            return way(self._refresh(), self.id_column, column, queries, k, metric)

    def units(self, column: str) -> list[Unit]:
        """One unit per fragment; its key covers the files that hold the ids and the other vectors."""
        data = self._refresh()
        parts = data.get_fragments()
        return [Unit(unit_key(data, part, self.id_column, column), part.count_rows()) for part in parts]

    def pending(
        self, column: str, sources: Sequence[str], entries: Mapping[str, Entry], *, only_missing: bool
    ) -> list[Unit]:
        """The fragments that the ledger does not list, where they have a row to stage."""
        absent = [column] if only_missing else []
        condition, files = presence(sources, absent), (self._path / "data").files(STAGED)
        waiting = [u for u in self.units(column) if u.key not in entries or entries[u.key].receipt not in files]
        return [unit for unit in waiting if may_hold(self._fragment(unit, column), condition)]

    def _fragment(self, unit: Unit, column: str | None = None) -> LanceFragment:
        fragment = self._data.get_fragment(int(unit.key.split("-")[0]))
        if fragment is None or (column and unit_key(self._data, fragment, self.id_column, column) != unit.key):
            raise RowsChanged(f"rows of {self.address} were changed by another process (unit {unit.key}): run again")
        return fragment

    def read_unit(self, unit: Unit, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of one fragment."""
        fragment = self._fragment(unit)
        with reading(self.address):
            yield from fragment.to_batches(columns=list(columns), batch_size=BATCH_ROWS, **AHEAD)

    def begin_stage(self, column: str, dim: int, metric: str) -> None:
        """Add the column as nulls, and let the other vector columns take nulls, for rows of the new space."""
        del metric
        field, schema = pa.field(column, pa.list_(pa.float32(), dim)), self.schema()
        if column in schema.names and schema.field(column).type != field.type:
            raise GalleryError(
                f"column {column!r} of {self.address} is there already, as {schema.field(column).type}: rename it"
            )
        with changing(self.address):
            if column not in schema.names:
                self._data.add_columns(field)
            for other in schema:
                if is_vector(other.type) and not other.nullable:
                    self._refresh().alter_columns({"path": other.name, "nullable": True})  # type: ignore[dict-item]
        self._refresh()
        self._sweep()

    def stage_unit(self, unit: Unit, column: str, vectors: Iterable[pa.FixedSizeListArray]) -> str:
        """Write one data file and sync it to disk; the receipt is its name."""
        fragment = self._fragment(unit, column)
        schema = pa.schema([self._data.schema.field(column)])
        batches = (pa.record_batch([array], schema=schema) for array in vectors)
        placed = spread(batches, live_offsets(fragment), fragment.physical_rows)
        return write_file(self._data, schema, placed, STAGED)

    def commit_staged(self, column: str, entries: Mapping[str, Entry]) -> None:
        """One merge commit that gives every listed fragment its new data file; files of vanished units are removed."""

        def merge(data: lance.LanceDataset) -> None:
            if fragments := with_staged(data, self.id_column, column, entries):
                commit_merge(data, fragments)

        self._commit(merge)
        remove_unused(self._refresh(), (entry.receipt for entry in entries.values()))

    def _commit(self, change: Callable[[lance.LanceDataset], None]) -> None:
        """Carry out a change of the newest version, again where another process was faster."""
        from lance.commit import CommitConflictError  # noqa: PLC0415

        for attempt in range(COMMIT_TRIES):
            try:
                with changing(self.address, passed=CommitConflictError):
                    change(self._refresh())
                self._refresh()
            except CommitConflictError:
                time.sleep(0.05 * attempt)
            else:
                return
        raise GalleryError(f"{self.address} is being changed all the time by other processes: run again later")

    def ledger(self, column: str) -> Ledger:
        """A file in the folder `upgrades`, or several where no file can grow."""
        return (self._work / column).ledger()

    def drop_column(self, column: str, kept: Sequence[str] | None = None) -> None:
        """Leave the column out of the next version, on exactly the version that was looked at."""
        with self._work.writing():
            while column in self.schema().names and not self._dropped(column, kept):
                pass
        (self._work / column).remove_all()
        self._sweep()

    def _sweep(self) -> None:
        sweep(self._path, lambda: listed_files(self._work), self._refresh)

    def _dropped(self, column: str, kept: Sequence[str] | None) -> bool:
        """Whether the column went without a row in between; otherwise it is back, to be looked at again."""
        if only := self.count_missing([column], kept) if kept is not None else 0:
            raise only_vectors(self.address, column, only)
        with changing(self.address):
            looked_at, data = self._data.version, self._refresh()
            for name in indexes_of(data, column):
                data.drop_index(name)
                looked_at += 1
            data.drop_columns([column])
            dropped = data.version
            if kept is None or dropped == looked_at + 1 or self._refresh().version != dropped:
                return True
            data.checkout_version(dropped - 1).restore()  # type: ignore[no-untyped-call]
        return False

    def build_index(self, column: str, metric: str, progress: Progress = silent) -> str:
        """IVF with flat lists; fewer than 1,024 rows are searched one by one instead."""
        with changing(self.address):
            description = build_index(self._refresh(), column, metric, progress)
        self._refresh()
        return description

    def index_work(self, rows: int) -> float:
        """Of clustering and of comparing each row with the lists."""
        return index_work(rows)

    def reclaim(self) -> list[str]:
        """Write files with dropped columns or deleted rows anew, remove all older versions, and build indexes again."""
        self._rewrite()
        return copies_of(self._data, self._path)

    def _rewrite(self) -> None:
        """Files without dead bytes in the place of those with some, indexes built again, and no older version."""
        erased = read_stamps(self._work)

        def change(data: lance.LanceDataset) -> None:
            fragments, stamps = rewrite_all(data, erased)
            if stamps:
                erased.update(stamps)
                commit_merge(data, fragments)

        self._commit(change)
        present = {stamp(part.metadata.files, part.num_deletions) for part in self._data.get_fragments()}
        write_stamps(self._work, erased & present)
        for column in self._work.folders():  # what was staged for fragments as they are no more
            keys = {unit.key for unit in self.units(column)}
            with suppress(GalleryError):  # of a damaged ledger, whose files the sweep leaves too
                remove_unused(self._refresh(), stale_files(self.ledger(column), keys))
        self._sweep()
        for name in indexes_of(self._refresh()):
            self.build_index(*measured_by(name))
        with changing(self.address):
            self._refresh().cleanup_old_versions(timedelta(0), error_if_tagged_old_versions=False)

    def advice(self) -> list[str]:
        """Staging writes files of its own and slows nobody down."""
        return []

    def bytes_needed(self, dim: int) -> tuple[int, int | None]:
        """Four bytes a number, and what the disk has free."""
        return 4 * dim * self.count(), self._folder.free_bytes()

    def spare(self) -> str:
        """A folder among the notes of this gallery."""
        return (self._folder / WORK / f"trial-{uuid.uuid4().hex}").uri

    def destroy(self) -> None:
        """Remove the folder with all that is below."""
        self._folder.remove_all()

    def locked(self, owner: str) -> AbstractContextManager[None]:
        """A lock on a file, or a lease where no file can be locked."""
        return self._work.locked(owner, self.address)
