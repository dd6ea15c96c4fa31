"""What bict asks of a Qdrant server, answered over HTTP by Qdrant's own engine in this process (qdrant-edge)."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import qdrant_edge as edge

DISTANCES = {"Dot": edge.Distance.Dot, "Cosine": edge.Distance.Cosine, "Euclid": edge.Distance.Euclid}
MODES = {"insert_only": edge.UpdateMode.InsertOnly, "update_only": edge.UpdateMode.UpdateOnly}
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Collection:
    """One shard and its settings."""

    def __init__(self, folder: Path, vectors: dict) -> None:
        self.folder = folder
        self.vectors = {name: dict(params) for name, params in vectors.items()}
        folder.mkdir(parents=True)
        sizes = {name: edge.EdgeVectorParams(p["size"], DISTANCES[p["distance"]]) for name, p in vectors.items()}
        self.shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=sizes, wal_enabled=False))

    def info(self) -> dict:
        config = {"params": {"vectors": self.vectors}, "hnsw_config": HNSW, "optimizer_config": OPTIMIZERS}
        points = self.shard.info().points_count
        with_graph = [p for p in self.vectors.values() if p.get("hnsw_config", {}).get("m") != 0]
        indexed = {"indexed_vectors_count": points * len(with_graph)}
        state = {"status": "green", "optimizer_status": "ok", "segments_count": 1, "payload_schema": {}}
        return {**state, **indexed, "points_count": points, "config": config}


class Server:
    """The collections, and one method for each request that bict makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collections: dict[str, Collection] = {}
        self.key: str | None = None
        self._made = 0

    def require_key(self, given: str | None) -> None:
        if self.key is not None and given != self.key:
            raise Refused(401, "Must provide an API key or an Authorization bearer token")

    def answer(self, method: str, path: str, body: dict) -> object:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        name, rest = parts[1], "/".join(parts[2:])
        if (method, rest) == ("GET", "exists"):
            return {"exists": name in self.collections}
        if (method, rest) == ("PUT", ""):
            self._made += 1
            self.collections[name] = Collection(self.folder / str(self._made), body["vectors"])
            return True
        if (method, rest) == ("DELETE", "") and name not in self.collections:
            return False
        if name not in self.collections:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        if (method, rest) == ("DELETE", ""):
            gone = self.collections.pop(name)
            gone.shard.close()
            shutil.rmtree(gone.folder)
            return True
        return self._of_collection(self.collections[name], f"{method} {rest}", body)

    def _of_collection(self, collection: Collection, request: str, body: dict) -> object:
        if " vectors/" in request:
            return _change_vector(collection, *request.split(" vectors/"), body)
        ways: dict[str, Callable[[Collection, dict], object]] = {
            "GET ": lambda c, _: c.info(),
            "PATCH ": _update_collection,
            "GET snapshots": lambda _, __: [],
            "PUT index": lambda c, b: _update(c, edge.UpdateOperation.create_field_index(b["field_name"], KEYWORD)),
            "PUT points": _upsert,
            "POST points": lambda c, b: [_record(r) for r in c.shard.retrieve(b["ids"], **_wanted(b))],
            "POST points/scroll": _scroll,
            "POST points/count": lambda c, b: {"count": c.shard.count(edge.CountRequest(filter=_filter(b)))},
            "POST points/delete": _delete,
            "PUT points/vectors": _update_vectors,
            "POST points/payload": _set_payload,
            "POST points/query/batch": lambda c, b: [_query(c, search) for search in b["searches"]],
        }
        if request not in ways:
            raise Refused(404, "")
        return ways[request](collection, body)


KEYWORD = edge.PayloadSchemaType.Keyword


def _update(collection: Collection, operation: edge.UpdateOperation) -> dict:
    try:
        collection.shard.update(operation)
    except Exception as error:
        if "No point with id" in str(error):
            raise Refused(404, f"Not found: {error}") from error
        raise Refused(400, f"Wrong input: {error}") from error
    return {"operation_id": 0, "status": "completed"}


def _update_collection(collection: Collection, body: dict) -> bool:
    for name, params in (body.get("vectors") or {}).items():
        if name not in collection.vectors:
            raise Refused(400, f"Wrong input: Not existing vector name error: {name}")
        collection.vectors[name] |= {key: value for key, value in params.items() if value is not None}
    return True


def _change_vector(collection: Collection, method: str, name: str, body: dict) -> dict:
    if method == "DELETE":
        collection.vectors.pop(name, None)
        return _update(collection, edge.UpdateOperation.delete_vector_name(name))
    dense = body["dense"]
    made = edge.UpdateOperation.create_dense_vector(name, dense["size"], DISTANCES[dense["distance"]])
    collection.vectors[name] = {"size": dense["size"], "distance": dense["distance"]}
    return _update(collection, made)


def _upsert(collection: Collection, body: dict) -> dict:
    points = [edge.Point(p["id"], p["vector"], p.get("payload")) for p in body["points"]]
    mode = MODES.get(body.get("update_mode") or "")
    return _update(collection, edge.UpdateOperation.upsert_points(points, update_mode=mode))


def _delete(collection: Collection, body: dict) -> dict:
    if body.get("points") is not None:
        return _update(collection, edge.UpdateOperation.delete_points(body["points"]))
    return _update(collection, edge.UpdateOperation.delete_points_by_filter(_filter(body)))


def _update_vectors(collection: Collection, body: dict) -> dict:
    points = [edge.PointVectors(p["id"], p["vector"]) for p in body["points"]]
    return _update(collection, edge.UpdateOperation.update_vectors(points))


def _set_payload(collection: Collection, body: dict) -> dict:
    return _update(collection, edge.UpdateOperation.set_payload_by_filter(_filter(body), body["payload"]))


def _scroll(collection: Collection, body: dict) -> dict:
    request = edge.ScrollRequest(offset=body.get("offset"), limit=body["limit"], filter=_filter(body), **_wanted(body))
    try:
        found, after = collection.shard.scroll(request)
    except Exception as error:
        raise Refused(400, f"Wrong input: {error}") from error
    following = after if after is None or isinstance(after, int) else str(after)
    return {"points": [_record(record) for record in found], "next_page_offset": following}


def _query(collection: Collection, body: dict) -> dict:
    near = edge.Query.Nearest(body["query"]["nearest"], using=body["using"])
    found = collection.shard.query(edge.QueryRequest(limit=body["limit"], query=near, **_wanted(body)))
    return {"points": [{**_record(point), "score": point.score, "version": point.version} for point in found]}


def _wanted(body: dict) -> dict:
    return {"with_payload": body.get("with_payload", True), "with_vector": body.get("with_vector") or False}


def _record(record: edge.Record | edge.ScoredPoint) -> dict:
    own = record.id if isinstance(record.id, int) else str(record.id)
    return {"id": own, "payload": record.payload, "vector": record.vector}


def _filter(body: dict) -> edge.Filter | None:
    given = body.get("filter")
    if not given:
        return None
    parts = {name: [_condition(one) for one in given[name]] for name in given if given[name]}
    return edge.Filter(**parts)


def _condition(given: dict) -> object:
    if "has_vector" in given:
        return edge.HasVectorCondition(given["has_vector"])
    if "has_id" in given:
        return edge.HasIdCondition(set(given["has_id"]))
    return edge.FieldCondition(given["key"], match=edge.MatchValue(given["match"]["value"]))


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Server, int]]:
    """The server and its port on the loopback interface, until this ends."""
    server, lock = Server(folder), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status: int = 200
            try:
                server.require_key(self.headers.get("api-key"))
                with lock:
                    result = server.answer(self.command, urlsplit(self.path).path, json.loads(text or "{}"))
                said: dict = {"result": result, "status": "ok", "time": 0.0}
            except Refused as error:
                status, said = error.status, {"status": {"error": str(error)}, "time": 0.0}
            answer = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server, http.server_address[1]
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        for collection in server.collections.values():
            collection.shard.close()
