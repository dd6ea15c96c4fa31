"""What a Lance gallery keeps beside its table: ledgers of staged files, and stamps of fragments already erased."""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from bict.errors import GalleryError
from bict.gallery.ledger import FILE as LEDGER
from bict.gallery.ledger import FileLedger


def listed_files(work: Path) -> set[str]:
    """Names of the staged files that a ledger lists, as far as it can be read."""
    found: set[str] = set()
    for ledger in work.glob(f"*/{LEDGER}"):
        found |= stale_files(ledger, frozenset())
    return found


def stale_files(ledger: Path, keys: AbstractSet[str]) -> set[str]:
    """Names of the files that a ledger lists for units other than these."""
    with suppress(GalleryError):
        return {entry.receipt for entry in FileLedger(ledger).entries().values() if entry.unit not in keys}
    return set()


def read_stamps(path: Path) -> set[str]:
    """Stamps of the fragments whose deleted rows have left their files already."""
    try:
        return set(json.loads(path.read_text()))
    except (OSError, ValueError):
        return set()
