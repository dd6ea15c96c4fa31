"""The index of a column of a PostgreSQL table: HNSW, built without a lock, and how far that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from bict.errors import GalleryError
from bict.gallery.stores.pgvector_link import Link, compose, run
from bict.gallery.stores.pgvector_search import FOUND_INDEX, index_name, metric_of
from bict.gallery.stores.pgvector_table import Table
from bict.gallery.stores.pgvector_types import Field
from bict.progress import Progress, silent

VECTOR_DIMS, HALFVEC_DIMS = 2000, 4000
POLL_SECONDS = 0.5
PARTS = 100
BUILDING = """
SELECT %s * blocks_done / blocks_total FROM pg_catalog.pg_stat_progress_create_index
WHERE pid = %s AND phase LIKE 'building index%%' AND blocks_total > 0
"""


def build_index(table: Table, column: str, metric: str, progress: Progress = silent) -> str:
    """Build an HNSW index beside an older one, which serves until the new one is there; says what it is."""
    target = table.field(column)
    if target.dim > HALFVEC_DIMS:
        found = f"none: {target.dim} dimensions are searched exactly, pgvector indexes up to {HALFVEC_DIMS}"
    elif not target.declared:
        found = f"none: column {column!r} declares no width, so pgvector cannot index it"
    else:
        found = _build(table.link, target, metric, progress)
    progress(PARTS, PARTS)
    return found


def _build(link: Link, target: Field, metric: str, progress: Progress) -> str:
    column, half = target.name, target.dim > VECTOR_DIMS
    schema, name, new = link.relation[0], index_name(link, column), index_name(link, column, "_new")
    kind = "halfvec" if half else "vector"
    statement = compose(
        "CREATE INDEX CONCURRENTLY {new} ON {t} USING hnsw ({expression} {classes})",
        new=new,
        t=link.relation,
        expression=compose("({c}::halfvec({dim}))" if half else "{c}", c=column, dim=target.dim),
        classes=f"{kind}_{metric_of(metric).classes}",
    )
    with link.doing(f"building the index of {column!r}") as connection:
        swap = (
            compose("DROP INDEX CONCURRENTLY IF EXISTS {old}", old=(schema, name)),
            compose("ALTER INDEX {new} RENAME TO {name}", new=(schema, new), name=name),
        )
        if _valid(link, new) and not _valid(link, name):  # a kill came between the two
            for step in swap:
                run(connection, step)
        run(connection, compose("DROP INDEX CONCURRENTLY IF EXISTS {new}", new=(schema, new)))
        with _watched(link, connection.info.backend_pid, progress):
            run(connection, statement)
        for step in swap:
            run(connection, step)
    return f"HNSW over {kind}({target.dim}), m 16, ef_construction 64"


@contextmanager
def _watched(link: Link, builder: int, progress: Progress) -> Iterator[None]:
    """Tell how far the session `builder` is, seen from a second connection; where there is none, tell nothing."""
    over, second = Event(), Link(link.place)

    def watch() -> None:
        with suppress(GalleryError):
            while not over.wait(POLL_SECONDS):
                for (share,) in second.rows("looking at the index", BUILDING, [PARTS, builder]):
                    progress(min(int(share), PARTS), PARTS)
        second.close()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _valid(link: Link, name: str) -> bool:
    found = link.rows("looking for the index", FOUND_INDEX, [link.relation[0], name])
    return bool(found and found[0][0])
