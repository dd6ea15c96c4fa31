"""Upgrade a gallery: stage, verify, index, switch, without one image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bict.engine import Engine
from bict.errors import GalleryError, PrivacyError
from bict.gallery.carrying import Transforms, VectorTransform
from bict.gallery.gallery import Gallery
from bict.gallery.indexing import build_index
from bict.gallery.privacy import OpenLog, within_boundary
from bict.gallery.staging import StageReport, as_tuple, stage
from bict.gallery.switching import switch
from bict.gallery.verification import VerifyReport, verify
from bict.progress import Steps, silent_steps


@dataclass(frozen=True)
class UpgradeReport:
    """What an upgrade did.

    Attributes:
        column: the column that is searched now.
        already_upgraded: the column was live before, and nothing was changed.
        staged: what staging did, None if already upgraded.
        verified: what was checked, None if already upgraded.
        index: the new column's index, None if already upgraded.
        opened: files opened by Python code meanwhile, other than the interpreter's and its packages' own.
    """

    column: str
    already_upgraded: bool
    staged: StageReport | None
    verified: VerifyReport | None
    index: str | None
    opened: tuple[str, ...]


def upgrade(
    gallery: Gallery,
    transforms: VectorTransform | Transforms,
    *,
    run_dir: Path | None = None,
    engine: Engine | None = None,
    steps: Steps = silent_steps,
    sample: int = 256,
    seed: int = 0,
) -> UpgradeReport:
    """Stage the transformed vectors, verify them and switch to them; on any failure the live column stays live.

    All of it runs within a boundary: only the gallery, the transforms' own paths and `run_dir` may be opened. One
    process at a time upgrades a gallery.

    Args:
        gallery: each transform's source must be the space of one of its columns.
        transforms: carry the stored vectors into the new space.
        run_dir: one more folder that may be opened, for the caller's records.
        engine: where units are staged; None for this process.
        steps: given `stage`, `verify` and `index`, gives the progress of each.
        sample: rows recomputed by `verify`.
        seed: chooses them.

    Raises:
        SpaceError: a transform starts from another space, or was meant the other way round.
        GalleryError: a check failed (named), or another upgrade is under way.
        PrivacyError: something outside the boundary was to be opened.
        EngineError: workers died too often.
    """
    chosen = as_tuple(transforms)
    live = gallery.active_column
    with working(gallery, chosen, "upgrade", run_dir=run_dir) as log:
        made = gallery.metadata.made_by(transform.digest for transform in chosen)
        if made is not None and made.state == "live" and _complete(gallery):
            return UpgradeReport(made.name, already_upgraded=True, staged=None, verified=None, index=None, opened=())
        with steps("stage") as progress:
            staged = stage(gallery, chosen, engine=engine, progress=progress)
        with steps("verify") as progress:
            verified = verify(gallery, chosen, sample=sample, seed=seed, progress=progress)
        _require_clean(verified, log, live)
        with steps("index") as progress:
            index = build_index(gallery, staged.column, progress=progress)
        if made is None or made.state != "live":
            switch(gallery)
    return UpgradeReport(
        staged.column, already_upgraded=False, staged=staged, verified=verified, index=index, opened=tuple(log.opened)
    )


def _complete(gallery: Gallery) -> bool:
    """Whether every row that has a source vector has one in the live column."""
    column = gallery.metadata.active_column
    present = [name for name in column.sources if name in gallery.metadata.stored]
    return not present or gallery.store.count_missing(present, [column.name]) == 0


@contextmanager
def working(gallery: Gallery, transforms: Transforms, doing: str, *, run_dir: Path | None = None) -> Iterator[OpenLog]:
    """Hold the gallery's lock within a boundary that lets only gallery, transforms and `run_dir` be opened.

    Raises:
        GalleryError: another process holds the gallery.
        PrivacyError: at the end, where something was refused and whoever tried swallowed it.
    """
    reach = gallery.store.reach()
    own = [path for path in (run_dir, *(transform.path for transform in transforms)) if path is not None]
    with within_boundary(*reach.paths, *own, servers=reach.servers) as log, gallery.store.locked(doing):
        yield log
        _require_kept(log)


def _require_kept(log: OpenLog) -> None:
    if log.refused:
        raise PrivacyError(
            f"{len(log.refused)} attempts to leave the boundary, first {log.refused[0]}: do not switch, find out who"
        )


def _require_clean(verified: VerifyReport, log: OpenLog, live: str) -> None:
    _require_kept(log)
    for check in verified.failed:
        raise GalleryError(
            f"check {check.name!r} of column {verified.column!r} failed ({check.found}): {live!r} stays live; "
            "bict upgrade discard the staged column and upgrade again"
        )
