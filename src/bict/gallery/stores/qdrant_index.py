"""The index of a named vector of a Qdrant collection: a graph, which the server builds by itself and says how far."""

from __future__ import annotations

import time

from bict.errors import GalleryError
from bict.gallery.stores.qdrant_link import Link
from bict.progress import Progress, silent

GRAPH_EDGES = 16
INDEX_SECONDS = 6 * 3600.0
POLL_SECONDS = 0.5


def set_edges(link: Link, column: str, edges: int) -> None:
    """Let Qdrant build a graph with so many edges a node over a vector; 0 for none."""
    from qdrant_client.models import HnswConfigDiff, VectorParamsDiff  # noqa: PLC0415

    if not link.local:
        config = {column: VectorParamsDiff(hnsw_config=HnswConfigDiff(m=edges))}
        link.ask("changing its index", "update_collection", vectors_config=config)


def build_index(link: Link, column: str, rows: int, progress: Progress = silent) -> str:
    """Ask for the graph, and wait until the server's optimizers are done with the `rows` that have the vector.

    The server counts indexed vectors of all names together, so those it counts more than before are the new ones; of
    small segments it indexes none, and is done before the count is full.

    Raises:
        GalleryError: the server gave up, or needs more than six hours.
    """
    if link.local:
        progress(1, 1)
        return "none: local mode searches exactly"
    before = link.ask("looking for its index", "get_collection").indexed_vectors_count or 0
    set_edges(link, column, GRAPH_EDGES)
    deadline, green = time.monotonic() + INDEX_SECONDS, 0
    while green < 2:  # an optimizer may not have begun at the first look
        time.sleep(POLL_SECONDS)
        found = link.ask("waiting for its index", "get_collection")
        status = found.status.value
        green = green + 1 if status == "green" else 0
        if status == "red" or time.monotonic() > deadline:
            raise GalleryError(f"the index of {column!r} in {link.place.shown} is not built, its status is {status!r}")
        progress(min(rows, max(0, (found.indexed_vectors_count or 0) - before)), rows)
    progress(rows, rows)
    return f"HNSW, {GRAPH_EDGES} edges a node, in segments above the server's indexing threshold"
