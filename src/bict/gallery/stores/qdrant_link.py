"""Where a Qdrant collection lives, and requests to it whose failures are one line."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sqlite3
import uuid
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from bict.errors import BictError, GalleryError, MissingExtra
from bict.gallery.stores.base import first_line

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.http.exceptions import UnexpectedResponse

KEY_VARIABLE = "BICT_QDRANT_API_KEY"
SIDE = "__bict"
DEFAULT_PORT = 6333
TIMEOUT_SECONDS = 120
EXPECTED = "expected qdrant://HOST:PORT/COLLECTION, with ?https=1 for TLS, or qdrant:///FOLDER?collection=NAME"
LARGE = "Local mode is not recommended"


class MissingPoint(GalleryError):
    """A request named a point that is not there; the other points of the request were changed."""


@dataclass(frozen=True)
class Place:
    """A collection on a server, or in a folder of the client's local mode; `shown` never holds a secret."""

    shown: str
    collection: str
    host: str = ""
    port: int = DEFAULT_PORT
    https: bool = False
    folder: Path | None = None

    @property
    def side(self) -> Place:
        """The collection that holds what bict notes about this one."""
        return replace(self, collection=self.collection + SIDE)


def parse(address: str) -> Place:
    """The place an address names.

    Raises:
        GalleryError: it names none, or holds a password or an API key, which the message does not repeat.
    """
    try:
        parts = urlsplit(address)
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    except ValueError:
        raise GalleryError(f"a qdrant:// address cannot be read: {EXPECTED}") from None
    known = {"https"} if host else {"collection"}
    if parts.username is not None or parts.password is not None or parts.fragment or set(options) - known:
        raise GalleryError(
            f"a qdrant:// address holds more than a place: {EXPECTED}; an API key is given in {KEY_VARIABLE} only"
        )
    names = [unquote(parts.path.strip("/"))] if host else options.get("collection", [])
    if parts.scheme != "qdrant" or len(names) != 1 or not names[0] or "/" in names[0] or names[0].endswith(SIDE):
        raise GalleryError(f"{address} names no collection: {EXPECTED}")
    if not host:
        folder = Path(unquote(parts.path))
        if parts.netloc or len(folder.parts) < 2:
            raise GalleryError(f"{address} names no folder: {EXPECTED}")
        return Place(address, names[0], folder=folder)
    return Place(address, names[0], host, port, options.get("https", ["0"])[-1] not in ("0", "", "false"))


def beside(address: str) -> str:
    """The address of a collection on the same server that nobody has."""
    return urlunsplit(urlsplit(address)._replace(path=f"/bict-trial-{uuid.uuid4().hex}"))


@dataclass
class _Shared:
    """A client and how many stores use it."""

    client: QdrantClient
    users: int = 0


_clients: dict[tuple[str, ...], _Shared] = {}


def connect(place: Place, user: object) -> QdrantClient:
    """The client of a place, shared by its users in this process and closed after the last one.

    Raises:
        MissingExtra: qdrant-client is not installed.
        GalleryError: another process has the folder open, or a key would be sent without TLS.
    """
    try:
        import qdrant_client  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingExtra("qdrant-client", "qdrant") from error
    key = os.environ.get(KEY_VARIABLE, "")
    name = (str(place.folder.resolve()),) if place.folder else (place.host, str(place.port), str(place.https), key)
    if name not in _clients:
        _clients[name] = _Shared(_open_folder(place) if place.folder else _open_server(place, key))
    shared = _clients[name]
    shared.users += 1
    weakref.finalize(user, _leave, name)
    return shared.client


def _leave(name: tuple[str, ...]) -> None:
    shared = _clients.get(name)
    if shared is None:
        return
    shared.users -= 1
    if shared.users == 0:
        del _clients[name]
        shared.client.close()


def _open_server(place: Place, key: str) -> QdrantClient:
    from qdrant_client import QdrantClient  # noqa: PLC0415

    secret: dict[str, Any] = {"api_key": key} if key else {}
    if key and not place.https:
        if not _is_loopback(place.host):
            raise GalleryError(
                f"the API key in {KEY_VARIABLE} would be sent to {place.shown} unencrypted: add ?https=1 to the address"
            )
        secret = {"headers": {"api-key": key}}  # given as a key, the client would warn
    return QdrantClient(
        host=place.host,
        port=place.port,
        https=place.https,
        timeout=TIMEOUT_SECONDS,
        check_compatibility=False,  # a request of its own, in a thread
        **secret,
    )


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _open_folder(place: Place) -> QdrantClient:
    from qdrant_client import QdrantClient  # noqa: PLC0415

    busy = (
        f"{place.shown} is open in another process, and a folder of Qdrant's local mode admits one process at a time, "
        "also to read: run again after it, or keep the gallery on a Qdrant server"
    )
    if place.folder and _is_held(place.folder / ".lock"):  # the client would read everything before it looks
        raise GalleryError(busy)
    try:
        with _without_size_advice():
            return QdrantClient(path=str(place.folder))
    except RuntimeError as error:
        raise GalleryError(busy) from error
    except (OSError, ValueError, sqlite3.Error) as error:
        raise GalleryError(f"{place.shown} cannot be opened: {first_line(error)}") from error


def _is_held(lock: Path) -> bool:
    """Whether a client of another process holds a folder's lock."""
    import portalocker  # noqa: PLC0415

    if not lock.is_file():
        return False
    with lock.open("r+") as file:
        try:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException:
            return True
    return False


@contextmanager
def _without_size_advice() -> Iterator[None]:
    """Local mode advises against more than 20,000 points each time; bict says so when it is asked for an index."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=LARGE, category=UserWarning)
        yield


class Link:
    """Requests to one collection."""

    def __init__(self, client: QdrantClient, place: Place) -> None:
        self.place = place
        self._client = client

    @property
    def local(self) -> bool:
        """Whether the collection lies in a folder."""
        return self.place.folder is not None

    def ask(self, doing: str, method: str, **arguments: object) -> Any:  # noqa: ANN401
        """The result of one of the client's methods.

        Args:
            doing: what a failure's message says was being done.
            method: of the client.
            arguments: for it, without the collection's name.

        Raises:
            MissingPoint: a point is not there.
            GalleryError: anything else that failed.
        """
        with _failing(self.place, doing), _without_size_advice() if self.local else nullcontext():
            return getattr(self._client, method)(collection_name=self.place.collection, **arguments)

    def change(self, doing: str, method: str, **arguments: object) -> None:
        """A method that writes, and waits until it is done and, in a folder, on disk."""
        storage = self._storage()
        if storage is not None:  # local mode commits point by point: without a sync each, and with one for all of them
            with _failing(self.place, doing):
                storage.execute("PRAGMA journal_mode=WAL")
                storage.execute("PRAGMA synchronous=NORMAL")
        self.ask(doing, method, wait=True, **arguments)
        if storage is not None:
            with _failing(self.place, doing):
                storage.execute("PRAGMA wal_checkpoint(FULL)")

    def exists(self) -> bool:
        """Whether there is such a collection."""
        return bool(self.ask("looking for the collection", "collection_exists"))

    def erase_free_pages(self) -> bool:
        """Write the file of a collection in a folder anew, without what was deleted; whether that could be done."""
        storage = self._storage()
        if storage is None:
            return False
        try:
            storage.execute("VACUUM")
            storage.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            return False
        return True

    def free_bytes(self) -> int | None:
        """What the disk of a folder has free, None for a server."""
        return shutil.disk_usage(self.place.folder).free if self.place.folder else None

    def _storage(self) -> sqlite3.Connection | None:
        """The database behind a collection in a folder, where this client's insides are as known."""
        collections = getattr(getattr(self._client, "_client", None), "collections", {}) if self.local else {}
        kept = getattr(getattr(collections.get(self.place.collection), "storage", None), "storage", None)
        return kept if isinstance(kept, sqlite3.Connection) else None


@contextmanager
def _failing(place: Place, doing: str) -> Iterator[None]:
    from qdrant_client.common.client_exceptions import QdrantException  # noqa: PLC0415
    from qdrant_client.http.exceptions import ApiException  # noqa: PLC0415

    try:
        yield
    except KeyError as error:  # local mode's word for a missing point
        raise MissingPoint(f"{place.shown}: no point {error} while {doing}") from error
    except (ApiException, QdrantException, sqlite3.Error, OSError, ValueError, RuntimeError, AssertionError) as error:
        raise _refusal(place, doing, error) from error


def _refusal(place: Place, doing: str, error: Exception) -> BictError:
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse  # noqa: PLC0415

    if isinstance(error, ResponseHandlingException):
        if isinstance(error.source, BictError):
            return error.source
        return GalleryError(
            f"{place.shown} gave no answer while {doing} ({first_line(error.source)}): "
            "see that the server runs, and run the same command again"
        )
    text = first_line(error)
    if isinstance(error, UnexpectedResponse):
        text = _said(error)
        if error.status_code == 404 and "No point with id" in text:
            return MissingPoint(f"{place.shown}: {text} while {doing}")
        if error.status_code in (401, 403):
            text += f"; an API key is read from {KEY_VARIABLE}"
    return GalleryError(f"{place.shown} failed while {doing} ({text}): run the same command again")


def _said(error: UnexpectedResponse) -> str:
    """Status and message of an answer."""
    try:
        message = str(error.structured()["status"]["error"])
    except (ValueError, KeyError, TypeError):
        message = str(error.reason_phrase)
    return f"{error.status_code} {(message.splitlines() or [''])[0][:200]}"
