"""Places that keep a gallery, by the scheme of their address; a path without a scheme is a Lance folder."""

from __future__ import annotations

from bict.errors import SettingsError, UnknownName
from bict.gallery.stores.base import Hits, Store, Unit
from bict.gallery.stores.lance import LanceStore
from bict.gallery.stores.pgvector import PgvectorStore
from bict.gallery.stores.qdrant import QdrantStore

__all__ = ["STORES", "Hits", "LanceStore", "Store", "Unit", "open_store", "store_of"]

STORES: dict[str, type[Store]] = {"lance": LanceStore, "postgresql": PgvectorStore, "qdrant": QdrantStore}
ALIASES = {"postgres": "postgresql", "s3": "lance"}


def store_of(address: str) -> tuple[type[Store], str]:
    """The class that keeps galleries at such an address, and the address as that class takes it.

    Raises:
        UnknownName: nothing keeps galleries under this scheme.
        SettingsError: a scheme without its `//`; the address is not repeated, it may hold a password.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        start = address.partition(":")[0]
        if start in {*STORES, *ALIASES}:
            raise SettingsError(f"a gallery address that begins with {start}: needs two slashes: {start}://...")
        return LanceStore, address
    kept, scheme = scheme == "s3", ALIASES.get(scheme, scheme)
    if scheme not in STORES:
        raise UnknownName("gallery address scheme", scheme, STORES)
    return STORES[scheme], rest if scheme == "lance" and not kept else address


def open_store(address: str) -> Store:
    """The store at an address: a folder, or `scheme://...`.

    Raises:
        UnknownName: nothing keeps galleries under this scheme.
        GalleryError: there is no gallery.
    """
    store, place = store_of(address)
    return store.open(place)
