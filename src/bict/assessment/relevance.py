"""Relevance as pairs of ids, from a file: which items each query should find."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bict.errors import DataError, SettingsError, UnknownName
from bict.evaluation import Listed

COLUMNS = ("query", "item")


@dataclass(frozen=True, eq=False)
class RelevancePairs:
    """Pairs of a query and an item that it should find.

    Attributes:
        query_ids: `(pairs,)`.
        item_ids: `(pairs,)`, of the same type.
        left_out: pairs of the file that named an id that is not among the vectors, or one id twice.
    """

    query_ids: NDArray[Any]
    item_ids: NDArray[Any]
    left_out: int = 0

    def listed(self, queries: NDArray[Any], gallery: NDArray[Any]) -> Listed:
        """The gallery rows of each query; pairs with an id that neither side has are left out.

        Raises:
            DataError: no pair is left.
        """
        at, owner = _places(self.query_ids, queries)
        to, row = _places(self.item_ids, gallery)
        both = at & to & (self.query_ids != self.item_ids)
        if not both.any():
            raise DataError("no relevance pair has both its ids among the paired vectors: check the ids of --relevance")
        owners, rows = np.unique(np.stack([owner[both], row[both]]), axis=1)
        counts = np.bincount(owners, minlength=len(queries))
        return Listed(rows, np.concatenate([[0], np.cumsum(counts)]))


def read_relevance(path: Path, ids: NDArray[Any]) -> RelevancePairs:
    """Pairs of these ids from a `.csv` or `.parquet` file with columns `query` and `item`, of the type of the ids.

    Raises:
        DataError: the file cannot be read, holds nulls or ids of another type, or no pair of these ids.
        UnknownName: a column is missing.
        SettingsError: another ending.
    """
    path, text = Path(path), ids.dtype.kind == "U"
    if path.suffix not in (".csv", ".parquet"):
        raise SettingsError(f"{path}: name a file of relevance pairs that ends in .csv or .parquet")
    try:
        if path.suffix == ".csv":
            kinds = dict.fromkeys(COLUMNS, pa.string() if text else pa.int64())
            table = pa.csv.read_csv(path, convert_options=pa.csv.ConvertOptions(column_types=kinds))
        else:
            table = pq.read_table(path, partitioning=None)
        for name in COLUMNS:
            if name not in table.column_names:
                raise UnknownName(f"column of {path}", name, table.column_names)
        columns = [table[name].cast(pa.string() if text else pa.int64()) for name in COLUMNS]
    except (OSError, pa.ArrowException) as error:
        kind = "text" if text else "whole number"
        raise DataError(f"{path} holds no readable pairs of {kind} ids: {str(error).splitlines()[0]}") from error
    if any(column.null_count for column in columns):
        raise DataError(f"{path} holds nulls: give a query and an item in every row")
    query, item = (np.asarray(column.to_pylist(), str if text else np.int64) for column in columns)
    known = np.isin(query, ids) & np.isin(item, ids) & (query != item)
    if not known.any():
        raise DataError(
            f"none of {len(query)} pairs in {path} has both its ids among the paired vectors: check the ids"
        )
    return RelevancePairs(query[known], item[known], int((~known).sum()))


def _places(wanted: NDArray[Any], ids: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each wanted id is among the ids, and at which place."""
    if not len(ids):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.int64)
    order = np.argsort(ids)
    place = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    return ids[order[place]] == wanted, order[place]
