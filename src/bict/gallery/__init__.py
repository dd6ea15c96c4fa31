"""Stored vectors and their upgrade to a new space; nothing here can open an image."""

from __future__ import annotations

from bict.gallery.carrying import VectorTransform
from bict.gallery.describing import GalleryInfo, UpgradeStatus, info, status
from bict.gallery.finalizing import Finalized, finalize
from bict.gallery.gallery import Gallery, SearchResult
from bict.gallery.indexing import build_index
from bict.gallery.metadata import Column, GalleryMetadata
from bict.gallery.planning import UpgradePlan, plan
from bict.gallery.privacy import OpenLog, within_boundary
from bict.gallery.staging import StageReport, stage
from bict.gallery.stores import STORES, Store, open_store
from bict.gallery.switching import discard, rollback, switch
from bict.gallery.upgrade import UpgradeReport, upgrade, working
from bict.gallery.verification import Check, VerifyReport, verify

__all__ = [
    "STORES",
    "Check",
    "Column",
    "Finalized",
    "Gallery",
    "GalleryInfo",
    "GalleryMetadata",
    "OpenLog",
    "SearchResult",
    "StageReport",
    "Store",
    "UpgradePlan",
    "UpgradeReport",
    "UpgradeStatus",
    "VectorTransform",
    "VerifyReport",
    "build_index",
    "discard",
    "finalize",
    "info",
    "open_store",
    "plan",
    "rollback",
    "stage",
    "status",
    "switch",
    "upgrade",
    "verify",
    "within_boundary",
    "working",
]
