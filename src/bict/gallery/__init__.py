"""Stored vectors and their upgrade to a new space; nothing here can open an image."""

from __future__ import annotations

from bict.gallery.gallery import Gallery, SearchResult
from bict.gallery.metadata import Column, GalleryMetadata
from bict.gallery.privacy import OpenLog, within_boundary
from bict.gallery.staging import StageReport, VectorTransform, stage
from bict.gallery.stores import STORES, Store, open_store
from bict.gallery.switching import discard, switch
from bict.gallery.upgrade import UpgradeReport, upgrade
from bict.gallery.verification import Check, VerifyReport, verify

__all__ = [
    "STORES",
    "Check",
    "Column",
    "Gallery",
    "GalleryMetadata",
    "OpenLog",
    "SearchResult",
    "StageReport",
    "Store",
    "UpgradeReport",
    "VectorTransform",
    "VerifyReport",
    "discard",
    "open_store",
    "stage",
    "switch",
    "upgrade",
    "verify",
    "within_boundary",
]
