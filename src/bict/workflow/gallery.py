"""`bict gallery info`, `adopt`, `import`, `export`, `delete`: a gallery as such, without models or images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from bict import gallery as rooms
from bict.embeddings import SPACE_KEY, Embeddings, vectors_to_arrow
from bict.errors import GalleryError, SettingsError, SpaceError, UnknownName, VectorError
from bict.gallery import Gallery, GalleryInfo
from bict.gallery.adopting import adopt as adopt_table
from bict.gallery.rows import Batch
from bict.gallery.stores.base import present_vectors
from bict.progress import Progress, silent
from bict.runs import require_writable
from bict.spaces import Space

ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Moved:
    """Rows that went from one place to another; `left_out` had no vector."""

    source: str
    to: str
    rows: int
    left_out: int = 0


@dataclass(frozen=True)
class Deleted:
    """Rows that were erased, and where copies may remain."""

    gallery: str
    rows: int
    asked: int
    note: str


def info(gallery: str) -> GalleryInfo:
    """What a gallery holds: rows, payload, vector columns with their spaces, and where their vectors come from.

    Args:
        gallery: address of the gallery.

    Raises:
        BictError: there is no gallery.
    """
    return rooms.info(Gallery.open(gallery))


def adopt(
    gallery: str, *, vector_column: str, space: Path, id_column: str = "id", progress: Progress = silent
) -> GalleryInfo:
    """Make a gallery of a table that bict did not create, without rewriting it.

    Args:
        gallery: address of the table.
        vector_column: the column of its vectors.
        space: directory of the model that wrote them, or a JSON file with the space's name, fingerprint and dim.
        id_column: the column of its ids, which must be unique.
        progress: called with rows checked and rows in all.

    Raises:
        BictError: there is no table, it is a gallery already, or its vectors cannot lie in the space.
    """
    made = adopt_table(
        gallery, id_column=id_column, vector_column=vector_column, space=read_space(space), progress=progress
    )
    return rooms.info(made)


def import_(
    file: Path,
    *,
    to: str,
    space: Path | None = None,
    id_column: str = "id",
    vector_column: str = "vector",
    replace: bool = False,
    progress: Progress = silent,
) -> Moved:
    """Fill a gallery, new or existing, from a Parquet or npy file; other columns become payload.

    Args:
        file: FILE.parquet with ids and vectors, or FILE.npy with vectors, whose ids are their row numbers.
        to: address of the gallery.
        space: directory of the model that wrote the vectors, or a JSON file of the space; not needed where the Parquet
            file carries it.
        id_column: the column of the ids.
        vector_column: the column of the vectors.
        replace: rows whose id is in the gallery already take the place of the ones there.
        progress: called with rows written and rows in all.

    Raises:
        BictError: the file cannot be read, or its rows do not fit the gallery.
    """
    given = None if space is None else read_space(space)
    total, batches = _read_file(Path(file), given, id_column, vector_column)
    counted = _counted(batches, total, progress)
    opened = Gallery.find(to)
    if opened is None:
        return Moved(str(file), to, len(Gallery.create(to, counted)))
    rows = 0
    for embeddings, payload in counted:
        opened.add(embeddings, payload, replace=replace)
        rows += len(embeddings)
    return Moved(str(file), to, rows)


def export(gallery: str, *, to: Path, column: str | None = None, progress: Progress = silent) -> Moved:
    """Write ids, vectors and payload of a gallery to a Parquet file that carries the space.

    Args:
        gallery: address of the gallery.
        to: FILE.parquet.
        column: vector column (default: the live one); rows without a vector there are left out and counted.
        progress: called with rows read and rows in all.

    Raises:
        BictError: the gallery or the file cannot be used.
    """
    to = Path(to)
    if to.suffix != ".parquet":
        raise SettingsError(f"{to}: name a file that ends in .parquet")
    require_writable(to.parent)
    opened = Gallery.open(gallery)
    spaces = opened.spaces
    name = column or opened.active_column
    if name not in spaces:
        raise UnknownName("vector column", name, spaces)
    part = to.with_name(f".{to.name}.part")
    try:
        rows, seen = _write_parquet(opened, name, spaces[name], part, progress)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    return Moved(gallery, str(to), rows, seen - rows)


def delete(gallery: str, ids: list[str] | None = None, *, ids_file: Path | None = None) -> Deleted:
    """Erase rows by id from live, staged and kept vectors and from older versions; no rollback brings them back.

    Args:
        gallery: address of the gallery.
        ids: ids of the rows.
        ids_file: a text file with one id a line, instead of or besides `ids`.

    Raises:
        BictError: there is no gallery, or an id is of another type than its ids.
    """
    wanted = [*(ids or []), *(_lines(ids_file) if ids_file else [])]
    if not wanted:
        raise SettingsError("no ids were given: name some, or give --ids-file")
    opened = Gallery.open(gallery)
    kind = opened.store.schema().field(opened.store.id_column).type
    rows = opened.delete(_numbers(wanted) if pa.types.is_integer(kind) else wanted)
    note = "bict upgrade finalize frees what the store has not freed yet and says where copies may remain"
    return Deleted(gallery, rows, len(wanted), note)


def read_space(path: Path) -> Space:
    """The space of a model directory, or of a JSON file that holds one.

    Raises:
        SpaceError: it cannot be read.
    """
    path = Path(path)
    card = path / "model.json" if path.is_dir() else path
    try:
        found = json.loads(card.read_text())
        return Space.model_validate(found.get("space", found) if isinstance(found, dict) else found)
    except OSError as error:
        raise SpaceError(f"{card} cannot be read ({error.strerror}): name a model directory or a JSON file") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        raise SpaceError(f"{card} is no space card: {where}: {problem['msg'].lower()}") from error
    except ValueError as error:
        raise SpaceError(f"{card} is not JSON: {error}") from error


def _read_file(path: Path, space: Space | None, id_column: str, vector_column: str) -> tuple[int, Iterator[Batch]]:
    if path.suffix == ".npy":
        return _read_npy(path, space)
    if path.suffix != ".parquet":
        raise SettingsError(f"{path}: name a file that ends in .parquet or .npy")
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise VectorError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    names = file.schema_arrow.names
    for name in (id_column, vector_column):
        if name not in names:
            raise UnknownName(f"column of {path}", name, names)
    stored = (file.schema_arrow.metadata or {}).get(SPACE_KEY)
    return file.metadata.num_rows, _parquet_batches(file, stored, space, id_column, vector_column)


def _parquet_batches(
    file: pq.ParquetFile, stored: bytes | None, space: Space | None, id_column: str, vector_column: str
) -> Iterator[Batch]:
    for batch in file.iter_batches(ROWS_AT_ONCE):
        table = pa.Table.from_batches([batch])
        vectors = pa.table({"id": table[id_column], "vector": table[vector_column]})
        own = vectors.replace_schema_metadata({SPACE_KEY: stored} if stored else None)
        payload = table.drop([id_column, vector_column])
        yield Embeddings.from_arrow(own, space), payload if payload.num_columns else None


def _read_npy(path: Path, space: Space | None) -> tuple[int, Iterator[Batch]]:
    if space is None:
        raise SpaceError(f"nothing says which space the vectors of {path} are of: add --space")
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise VectorError(f"{path} cannot be read as npy: {str(error).splitlines()[0]}") from error
    if vectors.ndim != 2:
        raise VectorError(f"{path} holds an array of shape {vectors.shape}, expected (rows, dim)")
    return len(vectors), (
        (
            Embeddings(
                np.arange(start, min(start + ROWS_AT_ONCE, len(vectors))),
                np.array(vectors[start : start + ROWS_AT_ONCE]),
                space,
            ),
            None,
        )
        for start in range(0, len(vectors), ROWS_AT_ONCE)
    )


def _counted(batches: Iterator[Batch], total: int, progress: Progress) -> Iterator[Batch]:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch[0])
        progress(done, total)


def _write_parquet(opened: Gallery, name: str, space: Space, path: Path, progress: Progress) -> tuple[int, int]:
    """Rows written and rows read."""
    id_column, payload, total = opened.store.id_column, opened.payload_columns, len(opened)
    clash = {"id", "vector"} & set(payload)
    if clash:
        raise GalleryError(
            f"payload column {min(clash)!r} of {opened.address} has a name that the file needs itself: rename it"
        )
    writer, rows, seen = None, 0, 0
    try:
        for batch in opened.store.scan([id_column, name, *payload], ROWS_AT_ONCE):
            vectors, there = present_vectors(batch[name])
            kept = batch.filter(pa.array(there))
            columns = {"id": kept[id_column], "vector": vectors_to_arrow(vectors)}
            columns |= {column: kept[column] for column in payload}
            table = pa.table(columns).replace_schema_metadata({SPACE_KEY: space.model_dump_json()})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            rows, seen = rows + len(kept), seen + len(batch)
            progress(seen, total)
    except OSError as error:
        raise GalleryError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise GalleryError(f"{opened.address} holds no rows: nothing to export")
    return rows, seen


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in Path(path).read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def _numbers(ids: list[str]) -> list[int]:
    try:
        return [int(name) for name in ids]
    except ValueError as error:
        raise SettingsError(f"the gallery's ids are integers: {error}") from error
