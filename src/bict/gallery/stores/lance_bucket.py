"""A Lance gallery in an object storage that speaks S3: files, a ledger of several objects, and a lease."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bict.errors import GalleryError
from bict.gallery.ledger import Entry, parse_entries
from bict.gallery.lock import beating, lease_is_over, refuse_second, require_held, this_process
from bict.gallery.stores.base import Reach, first_line

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
SIGNS = ("credential", "access_denied", "accessdenied", "invalidaccesskeyid", "signaturedoesnotmatch")
LEASE = "lease.json"
BEAT_SECONDS, DEAD_SECONDS = 15.0, 90.0
SEGMENT = 200
"""Ledger entries in one object: it is written once for each of them, so it must not grow with the gallery."""


@cache
def storage() -> S3FileSystem:
    """The storage that the environment names, with its credentials; Lance reads the same variables."""
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415

    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint is None:
        return S3FileSystem(region=region, allow_delayed_open=True)  # a small object is put in one request
    parts = urlsplit(endpoint)
    there = {"region": region or "us-east-1", "endpoint_override": parts.netloc, "scheme": parts.scheme}
    return S3FileSystem(**there, allow_delayed_open=True)


@contextmanager
def _failing(uri: str) -> Iterator[None]:
    """What the storage refuses, in one line."""
    try:
        yield
    except OSError as error:
        raise refused(uri, error) from error


def lacks_credentials(uri: str, error: BaseException) -> bool:
    """Whether an object storage, or what should find its credentials, refused for want of good ones."""
    place = uri.partition("://")[2].partition("?")[0]
    return bool(place) and any(sign in str(error).replace(place, "").lower() for sign in SIGNS)


def refused(uri: str, error: BaseException) -> GalleryError:
    """The refusal of an object storage; where credentials are missing, how they are given."""
    text = first_line(error)
    if lacks_credentials(uri, error):
        return GalleryError(
            f"{uri} cannot be used, found no credentials that it takes: set AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or a profile or role, on every machine ({text})"
        )
    return GalleryError(f"{uri} cannot be used: {text}")


@dataclass(frozen=True)
class BucketFolder:
    """What lies below a prefix of a bucket; nothing that Python itself opens."""

    uri: str
    reach = Reach()

    def __truediv__(self, name: str) -> BucketFolder:
        return BucketFolder(f"{self.uri.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.uri

    @property
    def _path(self) -> str:
        return self.uri.partition("://")[2].rstrip("/")

    def _entries(self) -> list[Any]:
        from pyarrow.fs import FileSelector  # noqa: PLC0415

        with _failing(self.uri):
            return list(storage().get_file_info(FileSelector(self._path, allow_not_found=True)))

    def folders(self) -> set[str]:
        """Names of the folders in it."""
        return {entry.base_name for entry in self._entries() if not entry.is_file}

    def files(self, prefix: str = "") -> set[str]:
        """Names of the objects in it that begin so."""
        return {entry.base_name for entry in self._entries() if entry.is_file and entry.base_name.startswith(prefix)}

    def untouched(self, prefix: str, seconds: float) -> set[str]:
        """None: an object is there once it is complete."""
        del prefix, seconds
        return set()

    def read(self, name: str) -> bytes | None:
        """What an object holds."""
        with _failing(self.uri):
            try:
                with storage().open_input_stream(f"{self._path}/{name}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Put an object, in one step."""
        with _failing(self.uri), storage().open_output_stream(f"{self._path}/{name}") as stream:
            stream.write(content)

    def sync(self, name: str) -> None:
        """Nothing to wait for: an object is there when it was put."""

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects, where they are there."""
        with _failing(self.uri):
            for name in names:
                with suppress(FileNotFoundError):
                    storage().delete_file(f"{self._path}/{name}")

    def remove_all(self) -> None:
        """Delete everything below."""
        with _failing(self.uri), suppress(FileNotFoundError):
            storage().delete_dir(self._path)

    def ledger(self) -> BucketLedger:
        """Objects of some entries each."""
        return BucketLedger(self / "ledger")

    def free_bytes(self) -> None:
        """An object storage is never full."""
        return

    def writing(self) -> nullcontext[None]:
        """Nobody waits: rows added at the same time as others may repeat an id of these."""
        return nullcontext()

    @contextmanager
    def locked(self, doing: str, address: str) -> Iterator[None]:
        """Hold a lease, which ends 90 s after its holder fell silent.

        Two that begin within the same moment may both hold it until one of them writes: what lost its lease is refused
        to (`require_held`).

        Raises:
            GalleryError: another process holds it.
        """
        lease = _Lease(self, uuid.uuid4().hex, this_process(doing).model_dump_json())
        held = lease.read()
        if not lease_is_over(held, DEAD_SECONDS):
            raise refuse_second(address, held.get("owner", ""))
        lease.write()
        if not lease.is_own():
            raise refuse_second(address, lease.read().get("owner", ""))
        try:
            with beating(self.uri, lease.is_own, lease.renew, BEAT_SECONDS):
                yield
        finally:
            with suppress(GalleryError):  # it ends by itself
                self.remove([LEASE] if lease.is_own() else [])


@dataclass(frozen=True)
class _Lease:
    """An object that says who holds a gallery, and when that one was last heard of."""

    folder: BucketFolder
    token: str
    owner: str

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.folder.read(LEASE) or b"{}")
        return found

    def is_own(self) -> bool:
        return bool(self.read().get("token") == self.token)

    def write(self) -> None:
        note = {"token": self.token, "owner": self.owner, "beat": time.time()}
        self.folder.write(LEASE, json.dumps(note).encode())

    def renew(self) -> None:
        if self.is_own():
            self.write()


@dataclass
class BucketLedger:
    """Entries in objects of 200, as no object can grow; names sort by the time they were begun."""

    folder: BucketFolder
    _name: str = ""
    _lines: list[str] = field(default_factory=list)

    def entries(self) -> dict[str, Entry]:
        """The newest entry of each unit, by key."""
        found: dict[str, Entry] = {}
        for name in sorted(self.folder.files()):
            found |= parse_entries(self.folder.read(name) or b"", f"{self.folder}/{name}")
        return found

    def record(self, entry: Entry) -> None:
        """Put the newest object once more, with one entry more; refused to a process that lost its lease."""
        if not self._name or len(self._lines) >= SEGMENT:
            self._name, self._lines = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.jsonl", []
        require_held(self.folder.uri)
        self._lines.append(entry.model_dump_json() + "\n")
        self.folder.write(self._name, "".join(self._lines).encode())
