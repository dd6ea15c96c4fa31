"""What a Lance gallery keeps beside its table: ledgers of staged files, and stamps of fragments already erased."""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet

from bict.gallery.ledger import Ledger
from bict.gallery.stores.lance_folder import Folder

ERASED = "erased.json"


def listed_files(work: Folder) -> set[str]:
    """Names of the staged files that a ledger lists.

    Raises:
        GalleryError: a ledger cannot be read.
    """
    found: set[str] = set()
    for column in work.folders():
        found |= stale_files((work / column).ledger(), frozenset())
    return found


def stale_files(ledger: Ledger, keys: AbstractSet[str]) -> set[str]:
    """Names of the files that a ledger lists for units other than these.

    Raises:
        GalleryError: the ledger cannot be read.
    """
    return {entry.receipt for entry in ledger.entries().values() if entry.unit not in keys}


def read_stamps(work: Folder) -> set[str]:
    """Stamps of the fragments whose deleted rows have left their files already."""
    try:
        return set(json.loads(work.read(ERASED) or b"[]"))
    except ValueError:
        return set()


def write_stamps(work: Folder, stamps: AbstractSet[str]) -> None:
    """Note them, in one step."""
    work.write(ERASED, json.dumps(sorted(stamps), indent=2).encode() + b"\n")
