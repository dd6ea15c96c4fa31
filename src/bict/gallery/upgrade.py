"""Upgrade a gallery: stage, verify, switch, without one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bict.errors import GalleryError, PrivacyError
from bict.gallery.gallery import Gallery
from bict.gallery.privacy import OpenLog, within_boundary
from bict.gallery.staging import Progress, StageReport, VectorTransform, stage
from bict.gallery.switching import switch
from bict.gallery.verification import VerifyReport, verify


@dataclass(frozen=True)
class UpgradeReport:
    """What an upgrade did.

    Attributes:
        column: the column that is searched now.
        already_upgraded: the column was live before, and nothing was changed.
        staged: what staging did, None if already upgraded.
        verified: what was checked, None if already upgraded.
        opened: files opened by Python code meanwhile, other than the interpreter's and its packages' own.
    """

    column: str
    already_upgraded: bool
    staged: StageReport | None
    verified: VerifyReport | None
    opened: tuple[str, ...]


def upgrade(
    gallery: Gallery,
    transform: VectorTransform,
    *,
    run_dir: Path | None = None,
    progress: Progress | None = None,
    sample: int = 256,
    seed: int = 0,
) -> UpgradeReport:
    """Stage the transformed vectors, verify them and switch to them; on any failure the live column stays live.

    All of it runs within a boundary: only the gallery, the transform's own path and `run_dir` may be opened.

    Args:
        gallery: its active space must be the transform's source.
        transform: carries the stored vectors into the new space.
        run_dir: one more folder that may be opened, for the caller's records.
        progress: called with rows staged and rows in all.
        sample: rows recomputed by `verify`.
        seed: chooses them.

    Raises:
        SpaceError: the transform starts from another space, or was meant the other way round.
        GalleryError: a check failed (named), or another upgrade is under way.
        PrivacyError: something outside the boundary was to be opened.
    """
    active = gallery.metadata.active_column
    if active.made_by[-1:] == (transform.digest,) and active.space.same_as(transform.target):
        return UpgradeReport(active.name, already_upgraded=True, staged=None, verified=None, opened=())
    allowed = [path for path in (Path(gallery.address), transform.path, run_dir) if path is not None]
    with within_boundary(*allowed) as log:
        staged = stage(gallery, transform, progress=progress)
        verified = verify(gallery, transform, sample=sample, seed=seed)
        _require_clean(verified, log, active.name)
        switch(gallery, staged.column)
    return UpgradeReport(
        staged.column, already_upgraded=False, staged=staged, verified=verified, opened=tuple(log.opened)
    )


def _require_clean(verified: VerifyReport, log: OpenLog, live: str) -> None:
    if log.refused:  # and swallowed by whoever tried
        raise PrivacyError(
            f"{len(log.refused)} attempts to leave the boundary, first {log.refused[0]}: {live!r} stays live"
        )
    for check in verified.failed:
        raise GalleryError(
            f"check {check.name!r} of column {verified.column!r} failed ({check.found}): {live!r} stays live; "
            "discard the staged column and upgrade again"
        )
