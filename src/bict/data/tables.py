"""Columns of a CSV as text."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from bict.errors import DataError

BLOCK = 2**25
"""Bytes read at once: a line must fit in, and one class of a landmark set may list thousands of images."""


def read_columns(path: Path, names: tuple[str, ...]) -> list[list[str]]:
    """The named columns of a CSV with a header, each `(rows,)` strings; an empty field is "", others are left alone.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    text = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        table = pa_csv.read_csv(path, read_options=pa_csv.ReadOptions(block_size=BLOCK), convert_options=text)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a CSV: {str(error).splitlines()[0]}") from error
    for name in names:
        count = table.column_names.count(name)
        if count != 1:
            raise DataError(f"{path} has {count} columns {name!r}, expected one: found {', '.join(table.column_names)}")
    return [table[name].to_pylist() for name in names]
