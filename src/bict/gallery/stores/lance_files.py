"""Data files of a Lance fragment, written beside the others: a staged column, or a file again without what is dead."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.errors import GalleryError
from bict.gallery.ledger import Entry
from bict.gallery.stores.base import first_line
from bict.gallery.stores.lance_folder import Folder
from bict.gallery.stores.lance_tables import UNREADABLE, folder_at

if TYPE_CHECKING:
    import lance
    from lance.fragment import DataFile, FragmentMetadata, LanceFragment

Batches = Iterable[pa.RecordBatch]
TOMBSTONE = -2
STAGED = "bict-staged-"
UNFINISHED, IDLE_SECONDS = ".tmp", 86_400.0
"""How Lance calls a file until it is complete, and after what time nobody writes it any more."""
BATCH_ROWS = 4096
AHEAD: dict[str, Any] = {"batch_readahead": 2, "io_buffer_size": 2**24}
"""How far Lance reads ahead: its own bound of 2 GB of buffers would let memory grow with the gallery."""


def write_file(data: lance.LanceDataset, schema: pa.Schema, batches: Batches, prefix: str = "") -> str:
    """One data file of the data set, synced to disk, not yet part of any version; returns its name.

    Raises:
        GalleryError: it cannot be written; nothing of it is left.
    """
    from lance.file import LanceFileWriter  # noqa: PLC0415

    folder, name = folder_of(data), f"{prefix}{uuid.uuid4().hex}.lance"
    try:
        with LanceFileWriter((folder / name).uri, schema, version=data.data_storage_version) as writer:
            for batch in batches:
                writer.write_batch(batch)
        folder.sync(name)
    except BaseException as error:
        folder.remove([name])
        if isinstance(error, OSError | RuntimeError):
            raise GalleryError(f"{folder} cannot be written ({first_line(error)}): free disk, run again") from error
        raise
    return name


def folder_of(data: lance.LanceDataset) -> Folder:
    """Where a data set keeps its data files."""
    return folder_at(str(data.uri).removeprefix("file://")) / "data"


def commit_merge(data: lance.LanceDataset, fragments: list[lance.FragmentMetadata]) -> None:
    """The next version, with these fragments in the place of all."""
    import lance  # noqa: PLC0415

    merge = lance.LanceOperation.Merge(fragments, data.lance_schema)
    lance.LanceDataset.commit(data.uri, merge, read_version=data.version)


def remove_unused(data: lance.LanceDataset, names: Iterable[str]) -> None:
    """Delete data files that this version does not hold."""
    used = {file.path for fragment in data.get_fragments() for file in fragment.metadata.files}
    folder_of(data).remove(set(names) - used)


def rewritten(data: lance.LanceDataset, fragment: LanceFragment) -> list[DataFile]:
    """The files of a fragment once more, without dropped columns and without what deleted rows held."""
    from lance.fragment import DataFile  # noqa: PLC0415

    names = _columns_by_field(data)
    offsets, files = live_offsets(fragment), []
    for file in fragment.metadata.files:
        live = list(dict.fromkeys(names[field] for field in file.fields if field in names))
        if not live:
            continue
        schema = pa.schema([data.schema.field(name) for name in live])
        batches = spread(
            fragment.to_batches(columns=live, batch_size=BATCH_ROWS, **AHEAD), offsets, fragment.physical_rows
        )
        files.append(DataFile.create(data, write_file(data, schema, batches)))
    return files


def without_field(files: Iterable[DataFile], field: int) -> list[DataFile]:
    """A fragment's files once one field is read from elsewhere: a file that holds others too gets a tombstone."""
    left = []
    for file in files:
        file.fields = [TOMBSTONE if own == field else own for own in file.fields]
        if any(own != TOMBSTONE for own in file.fields):
            left.append(file)
    return left


def with_staged(
    data: lance.LanceDataset, id_column: str, column: str, entries: Mapping[str, Entry]
) -> list[FragmentMetadata]:
    """All fragments with the staged files that a ledger lists for them; empty where all have theirs already.

    A file that is gone is left out, so that its unit is staged again.
    """
    from lance.fragment import DataFile  # noqa: PLC0415

    field = next(field.id() for field in data.lance_schema.fields() if field.name() == column)
    changed, fragments, files = False, [], folder_of(data).files(STAGED)
    for fragment in data.get_fragments():
        entry, found = entries.get(unit_key(data, fragment, id_column, column)), fragment.metadata
        fresh = entry is not None and entry.receipt not in {file.path for file in found.files}
        if entry and fresh and entry.receipt in files:
            found.files = [*without_field(found.files, field), DataFile.create(data, entry.receipt)]
            changed = True
        fragments.append(found)
    return fragments if changed else []


def rewrite_all(data: lance.LanceDataset, erased: set[str]) -> tuple[list[FragmentMetadata], set[str]]:
    """All fragments, those with dead bytes under new files, and the stamps of the latter."""
    fragments, stamps = [], set()
    for fragment in data.get_fragments():
        metadata, deletions = fragment.metadata, fragment.num_deletions
        if stamp(metadata.files, deletions) not in erased and needs_rewriting(data, fragment):
            metadata.files = rewritten(data, fragment)
            stamps.add(stamp(metadata.files, deletions))
        fragments.append(metadata)
    return fragments, stamps


def needs_rewriting(data: lance.LanceDataset, fragment: LanceFragment) -> bool:
    """Whether files of a fragment hold dropped columns or deleted rows."""
    known = _columns_by_field(data)
    return fragment.num_deletions > 0 or any(
        field not in known for file in fragment.metadata.files for field in file.fields
    )


def _columns_by_field(data: lance.LanceDataset) -> dict[int, str]:
    """The column that each field belongs to, those inside lists and structs too: a file may list only these."""
    found: dict[int, str] = {}
    for column in data.lance_schema.fields():
        waiting = [column]
        while waiting:
            field = waiting.pop()
            found[field.id()] = column.name()
            waiting += field.children()
    return found


def unit_key(data: lance.LanceDataset, fragment: LanceFragment, id_column: str, staged: str) -> str:
    """A key that changes when ids or any vectors but the staged ones were written anew; deletions do not change it."""
    covered = {
        field.id()
        for field in data.lance_schema.fields()
        if field.name() != staged and (field.name() == id_column or is_vector(data.schema.field(field.name()).type))
    }
    files = [file.path for file in fragment.metadata.files if covered & set(file.fields)]
    return f"{fragment.fragment_id}-{hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()[:16]}"


def stamp(files: Iterable[DataFile], deletions: int) -> str:
    """A hash over a fragment's files and how many of its rows are deleted."""
    paths = sorted(file.path for file in files)
    return hashlib.sha256(json.dumps([paths, deletions]).encode()).hexdigest()[:16]


def unfinished(folder: Folder, idle: float = 0.0) -> list[tuple[Folder, str]]:
    """Files of data and indexes, with their folders, that are not complete and were left alone for so many seconds."""
    indexes = folder / "_indices"
    places = [folder / "data", *(indexes / name for name in sorted(indexes.folders()))]
    return [(place, name) for place in places for name in sorted(place.untouched(UNFINISHED, idle))]


def sweep(folder: Folder, listed: Callable[[], set[str]], newest: Callable[[], lance.LanceDataset]) -> None:
    """Delete what a kill left behind: staged files neither in a ledger nor, looked at after it, in the newest version.

    A file that another process is about to list may go too; its unit is then staged again. Nothing is deleted where a
    ledger cannot be read. Files that are not complete go once they are a day old, for a living process may write them.
    """
    for place, name in unfinished(folder, IDLE_SECONDS):
        with suppress(OSError):  # not ours to remove: it is told of again
            place.remove([name])
    found = (folder / "data").files(STAGED)
    with suppress(GalleryError):
        found -= listed()
        remove_unused(newest(), found)


def may_hold(fragment: LanceFragment, condition: str) -> bool:
    """Whether some row of a fragment meets a condition; also where it cannot be read: whoever stages it will say so."""
    try:
        return bool(fragment.count_rows(filter=condition))
    except UNREADABLE:
        return True


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column of this type holds vectors."""
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))


def live_offsets(fragment: LanceFragment) -> NDArray[np.int64]:
    """Where the rows that are not deleted lie within the fragment."""
    if not fragment.num_deletions:
        return np.arange(fragment.physical_rows)
    batches = fragment.to_batches(columns=[], with_row_address=True)
    found = [batch["_rowaddr"].to_numpy() for batch in batches]
    return np.concatenate([np.zeros(0, np.uint64), *found]).astype(np.int64) & 0xFFFFFFFF


def spread(batches: Batches, offsets: NDArray[np.int64], physical_rows: int) -> Iterator[pa.RecordBatch]:
    """Live rows in their physical places, with nulls where deleted rows lie between them.

    A column that takes no nulls repeats a live row there.

    Raises:
        GalleryError: other than one row per offset.
    """
    done, start = 0, 0
    for batch in batches:
        done += len(batch)
        if done > len(offsets):
            break
        if not len(batch):
            continue
        stop = physical_rows if done == len(offsets) else int(offsets[done - 1]) + 1
        rows = np.full(stop - start, -1, np.int64)
        rows[offsets[done - len(batch) : done] - start] = np.arange(len(batch))
        yield batch if (rows >= 0).all() else _placed(batch, rows)
        start = stop
    if done != len(offsets):
        raise GalleryError(f"{done} vectors were staged for {len(offsets)} rows: one vector per row is needed")


def _placed(batch: pa.RecordBatch, rows: NDArray[np.int64]) -> pa.RecordBatch:
    nulls, repeats = pa.array(rows, mask=rows < 0), pa.array(np.maximum(rows, 0))
    columns = [
        column.take(nulls if field.nullable else repeats)
        for column, field in zip(batch.columns, batch.schema, strict=True)
    ]
    return pa.record_batch(columns, schema=batch.schema)
