"""The index of a column of a Lance table: inverted lists, built by Lance itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from bict.gallery.stores.lance_files import is_vector
from bict.gallery.stores.lance_tables import presence
from bict.progress import Progress, silent

if TYPE_CHECKING:
    import lance
    from lance.progress import IndexProgress

INDEX_SUFFIX = "_bict"
INDEXED_FROM = 1024
STAGES = ("train_ivf", "shuffle", "merge_partitions")
"""What takes time, in the order in which Lance does it: finds the centroids, assigns rows, writes the lists."""
PARTS = 100
"""Of each stage that are told of."""


def build_index(data: lance.LanceDataset, column: str, metric: str, progress: Progress = silent) -> str:
    """IVF with flat lists, square root of the rows many; fewer than 1,024 rows are searched one by one instead."""
    rows = int(data.count_rows(filter=presence([column], [])))
    if rows < INDEXED_FROM:
        for index in indexes_of(data, column):  # it would keep what rows held that are gone
            data.drop_index(index)
        progress(1, 1)
        return f"none: {rows} rows are searched exactly"
    partitions, name = max(1, round(math.sqrt(rows))), f"{column}_{metric}{INDEX_SUFFIX}"
    told = _told(progress)
    data.create_index(column, "IVF_FLAT", name, metric, replace=True, num_partitions=partitions, progress_callback=told)
    return f"IVF_FLAT, {partitions} partitions"


def _told(progress: Progress) -> Callable[[IndexProgress], None]:
    """Hears of Lance's stages, and tells of the whole; a stage that ends early is done."""

    def tell(event: IndexProgress) -> None:
        if event.stage in STAGES:
            share = 1.0 if event.event == "complete" else event.fraction or 0.0
            progress(PARTS * STAGES.index(event.stage) + int(PARTS * share), PARTS * len(STAGES))

    return tell


def indexes_of(data: lance.LanceDataset, column: str | None = None) -> list[str]:
    """Names of the indexes that bict built, of one column or of all."""
    own = [index for index in data.describe_indices() if index.name.endswith(INDEX_SUFFIX)]
    return [index.name for index in own if column in (None, *index.field_names)]


def foreign_indexes(data: lance.LanceDataset) -> list[str]:
    """Names of the indexes on vector columns that somebody else built."""
    vectors = {field.name for field in data.schema if is_vector(field.type)}
    others = [index for index in data.describe_indices() if not index.name.endswith(INDEX_SUFFIX)]
    return [index.name for index in others if vectors & set(index.field_names)]


def measured_by(index: str) -> tuple[str, str]:
    """Column and metric of an index that bict built."""
    column, _, metric = index.removesuffix(INDEX_SUFFIX).rpartition("_")
    return column, metric
