"""Nearest rows of a PostgreSQL table, exactly or through an HNSW index, and how that index is built."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bict.errors import GalleryError, UnknownName
from bict.gallery.stores.base import Hits, present_vectors
from bict.gallery.stores.exact import exact_search
from bict.gallery.stores.pgvector_link import Link, Part, compose, run, verbatim
from bict.gallery.stores.pgvector_table import Table, missing
from bict.gallery.stores.pgvector_types import Field

if TYPE_CHECKING:
    from psycopg.sql import Composed

STREAMED_FROM = 16
LARGEST_EF = 1000
ITERATIVE_SINCE = (0, 8)
HALF_MORE = 4
FOUND_INDEX = """
SELECT i.indisvalid, pg_get_indexdef(i.indexrelid) LIKE '%%halfvec%%' FROM pg_catalog.pg_index i
WHERE i.indexrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))
"""


VECTOR_INDEXES = """
SELECT c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am a ON a.oid = c.relam
WHERE i.indrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND a.amname IN ('hnsw', 'ivfflat')
ORDER BY c.relname
"""


class Metric(NamedTuple):
    """A pgvector operator, its operator class for indexes, and the score that a distance stands for."""

    operator: str
    classes: str
    score: str


METRICS = {
    "cosine": Metric("<=>", "cosine_ops", "1 - distance"),
    "dot": Metric("<#>", "ip_ops", "-distance"),
    "l2": Metric("<->", "l2_ops", "-(distance * distance)"),
}


def metric_of(name: str) -> Metric:
    """What pgvector calls a metric.

    Raises:
        UnknownName: the metric is not known.
    """
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS)
    return METRICS[name]


def search(table: Table, column: str, queries: NDArray[np.float32], k: int, metric: str, *, exact: bool) -> Hits:
    """The nearest rows of each query: the server sorts for a few queries, the client streams all rows for many."""
    target = table.field(column)
    metric_of(metric)
    if target.kind != "vector" or queries.shape[1] != target.dim:
        raise GalleryError(
            f"found queries of {queries.shape[1]} dimensions, column {column!r} of {table.shown} is {target.arrow}"
        )
    exact = exact or HALF_MORE * k > LARGEST_EF
    if exact and len(queries) >= STREAMED_FROM:
        return _stream(table, target, queries, k, metric)
    index = None if exact else index_of(table.link, column)
    return _ask(table, target, queries, k, metric, exact=exact, index=index)


def _stream(table: Table, target: Field, queries: NDArray[np.float32], k: int, metric: str) -> Hits:
    def batches() -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
        for page in table.pages([target.name], where=missing([target.name], [])):
            yield page.ids.to_numpy(zero_copy_only=False), present_vectors(page.columns[0])[0]

    return exact_search(batches(), queries, k, metric, rows=table.count(missing([target.name], [])))


def _ask(
    table: Table, target: Field, queries: NDArray[np.float32], k: int, metric: str, *, exact: bool, index: str | None
) -> Hits:
    half = index == "halfvec"
    nearest = _exactly(table, target, metric) if exact else _by_index(table, target, metric, half=half)
    is_text = pa.types.is_string(table.field(table.id_column).arrow)
    statement = compose(
        "SELECT q.n, array_agg({id} ORDER BY distance, key), array_agg({score} ORDER BY distance, key) "
        "FROM unnest(%s::text[]) WITH ORDINALITY AS q(v, n) CROSS JOIN LATERAL ({nearest}) AS h "
        "GROUP BY q.n ORDER BY q.n",
        id=verbatim("key::text" if is_text else "key"),
        score=verbatim(METRICS[metric].score),
        nearest=nearest,
    )
    texts = [f"[{','.join(map(repr, row))}]" for row in queries.tolist()]
    settings = _settings(table.link, k, exact=exact, indexed=index is not None)
    with table.link.transaction(f"searching {target.name!r}", lock_wait=False) as connection:
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, true)", [name, value])
        found = run(connection, statement, [texts, *([k * HALF_MORE] if half else []), k], binary=True).fetchall()
    return _hits(found, len(queries), k)


def _parts(table: Table, target: Field, metric: str) -> dict[str, Part]:
    operator = verbatim(METRICS[metric].operator)
    names: dict[str, Part] = {"id": table.id_column, "c": target.name, "t": table.link.relation, "dim": target.dim}
    return names | {"distance": compose("{c} {op} q.v::vector", c=target.name, op=operator), "op": operator}


def _exactly(table: Table, target: Field, metric: str) -> Composed:
    return compose(
        "SELECT {id} AS key, {distance} AS distance FROM {t} WHERE {c} IS NOT NULL ORDER BY distance, key LIMIT %s",
        **_parts(table, target, metric),
    )


def _by_index(table: Table, target: Field, metric: str, *, half: bool) -> Composed:
    """Rows in an order that an index gives; half-precision neighbours are sorted again by their full vectors."""
    parts = _parts(table, target, metric)
    if not half:
        return compose(
            "SELECT {id} AS key, {distance} AS distance FROM {t} WHERE {c} IS NOT NULL ORDER BY {distance} LIMIT %s",
            **parts,
        )
    return compose(
        "SELECT {id} AS key, {distance} AS distance FROM (SELECT {id}, {c} FROM {t} WHERE {c} IS NOT NULL "
        "ORDER BY {c}::halfvec({dim}) {op} q.v::halfvec({dim}) LIMIT %s) AS near ORDER BY distance, key LIMIT %s",
        **parts,
    )


def _settings(link: Link, k: int, *, exact: bool, indexed: bool) -> dict[str, str]:
    if exact:
        return {"enable_sort": "on", "enable_indexscan": "off", "enable_indexonlyscan": "off"}
    settings = {"hnsw.ef_search": str(max(100, HALF_MORE * k)), "enable_seqscan": "off" if indexed else "on"}
    return settings | ({"hnsw.iterative_scan": "relaxed_order"} if link.vector_version >= ITERATIVE_SINCE else {})


def _hits(found: list[tuple[Any, ...]], queries: int, k: int) -> Hits:
    width = min([k, *(len(ids) for _, ids, _ in found)]) if len(found) == queries else 0
    ids = [row[:width] for _, row, _ in found] if width else [[]] * queries
    scores = [row[:width] for _, _, row in found] if width else [[]] * queries
    return Hits(np.array(ids).reshape(queries, width), np.array(scores, np.float32).reshape(queries, width))


def index_of(link: Link, column: str) -> str | None:
    """What the index that bict built on a column holds, None where there is none that is valid."""
    found = link.rows("looking for the index", FOUND_INDEX, [link.relation[0], index_name(link, column)])
    return ("halfvec" if found[0][1] else "vector") if found and found[0][0] else None


def index_name(link: Link, column: str, suffix: str = "") -> str:
    """The name of the index that bict builds on a column."""
    return f"bict_hnsw_{hashlib.sha256(repr((link.relation[1], column)).encode()).hexdigest()[:16]}{suffix}"


def vector_indexes(link: Link) -> list[str]:
    """Names of the HNSW and IVF indexes on the table, whoever built them."""
    return [str(name) for (name,) in link.rows("looking for indexes", VECTOR_INDEXES, link.relation)]
