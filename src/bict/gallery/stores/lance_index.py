"""The index of a column of a Lance table: inverted lists, built by Lance itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bict.gallery.stores.lance_files import is_vector, unfinished
from bict.gallery.stores.lance_tables import presence
from bict.progress import Progress, silent

if TYPE_CHECKING:
    import lance

    from bict.gallery.stores.lance_folder import Folder

INDEX_SUFFIX = "_bict"
INDEXED_FROM = 1024
LEARNT = 1150
"""So many lists to be compared with cost a row what clustering and rewriting do; measured from 0.26 to 10 million."""


def build_index(data: lance.LanceDataset, column: str, metric: str, progress: Progress = silent) -> str:
    """IVF with flat lists, square root of the rows many; fewer than 1,024 rows are searched one by one instead.

    `progress` hears of the beginning and the end only. Lance has a `progress_callback`, but with it 14.0.2 now and then
    never comes back, every thread asleep: seen within two builds of 100,000 rows on two CPUs, and in none without it.
    """
    progress(0, 1)
    rows = int(data.count_rows(filter=presence([column], [])))
    if rows < INDEXED_FROM:
        for index in indexes_of(data, column):  # it would keep what rows held that are gone
            data.drop_index(index)
        description = f"none: {rows} rows are searched exactly"
    else:
        partitions, name = max(1, round(math.sqrt(rows))), f"{column}_{metric}{INDEX_SUFFIX}"
        data.create_index(column, "IVF_FLAT", name, metric=metric, replace=True, num_partitions=partitions)
        description = f"IVF_FLAT, {partitions} partitions"
    progress(1, 1)
    return description


def index_work(rows: int) -> float:
    """Comparisons of rows with lists: Lance learns from 256 rows a list, and then compares each row with all lists."""
    return rows * (LEARNT + math.sqrt(rows))


def indexes_of(data: lance.LanceDataset, column: str | None = None) -> list[str]:
    """Names of the indexes that bict built, of one column or of all."""
    own = [index for index in data.describe_indices() if index.name.endswith(INDEX_SUFFIX)]
    return [index.name for index in own if column in (None, *index.field_names)]


def foreign_indexes(data: lance.LanceDataset) -> list[str]:
    """Names of the indexes on vector columns that somebody else built."""
    vectors = {field.name for field in data.schema if is_vector(field.type)}
    others = [index for index in data.describe_indices() if not index.name.endswith(INDEX_SUFFIX)]
    return [index.name for index in others if vectors & set(index.field_names)]


def copies_of(data: lance.LanceDataset, path: Folder) -> list[str]:
    """Where vectors of dropped columns and deleted rows may remain: tags, others' indexes, files not complete."""
    copies = []
    if tags := data.tags.list():
        copies.append(f"tagged versions of {path}: {', '.join(sorted(tags))}")
    if foreign := foreign_indexes(data):
        copies.append(f"indexes that bict did not build, until they are built again: {', '.join(foreign)}")
    if left := unfinished(path):
        place, name = left[0]
        about = (
            f"{len(left)} unfinished files of a running or killed process, removed a day after they were last written"
        )
        copies.append(f"{about}, the first is {place}/{name}")
    return copies


def measured_by(index: str) -> tuple[str, str]:
    """Column and metric of an index that bict built."""
    column, _, metric = index.removesuffix(INDEX_SUFFIX).rpartition("_")
    return column, metric
