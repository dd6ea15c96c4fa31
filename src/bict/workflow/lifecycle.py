"""`bict upgrade plan`, `run`, `status`, ...: each step of an upgrade by itself, on addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bict import gallery as rooms
from bict.engine import open_engine
from bict.errors import GalleryError, SettingsError
from bict.gallery import Finalized, Gallery, StageReport, UpgradePlan, UpgradeStatus, VerifyReport, working
from bict.gallery.finalizing import bytes_of, kept_columns
from bict.progress import Progress, silent
from bict.transforms.precision import FULL
from bict.workflow.upgrade import Confirm, agreed, load_transforms


@dataclass(frozen=True)
class Step:
    """What a step did to a column of a gallery, and what can be done now."""

    gallery: str
    done: str
    column: str
    next: str


def plan(
    gallery: str,
    transforms: list[Path],
    *,
    precision: str = FULL,
    rows: float | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> UpgradePlan:
    """Say what an upgrade would write where, how long it takes and what stands against it; nothing is written to it.

    With --rows or --workers it forecasts an upgrade of another size: it stages, verifies and indexes random vectors
    beside the gallery, in the same store, for half a minute or so (PostgreSQL: a few), and removes them.

    Args:
        gallery: address of the gallery.
        transforms: directories of transforms.
        precision: of networks such as mlp: float32, bfloat16 or float16; shows what it gains and costs.
        rows: forecast an upgrade of so many rows, as 1e9.
        workers: forecast one by so many workers of --engine ray, each with one CPU (default: this process).
        progress: called with trials done, of two.

    Raises:
        BictError: the gallery or a transform cannot be read, or a trial failed.
    """
    if rows is not None and not (rows >= 1 and float(rows).is_integer()):
        raise SettingsError(f"--rows {rows}: expected a whole number from 1 on")
    whole = None if rows is None else int(rows)
    loaded = load_transforms(transforms, precision)
    return rooms.plan(Gallery.open(gallery), loaded, rows=whole, workers=workers, progress=progress)


def run(
    gallery: str,
    transforms: list[Path],
    *,
    expect: str | None = None,
    precision: str = FULL,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> StageReport:
    """Stage the upgraded vectors beside the live ones; started again, it goes on, and catches up what changed.

    Args:
        gallery: address of the gallery.
        transforms: directories of transforms.
        expect: beginning of the digest that the plan showed for the first transform; another transform is refused.
        precision: of networks such as mlp: float32, bfloat16, float16; bict upgrade plan says what it gains and costs.
        engine: where vectors are transformed: local, in this process, or ray (pip install 'bict[ray]').
        address: of the Ray cluster, as `auto` or `ray-head:6379`; without one, a Ray is started on this machine.
        workers: processes of Ray at the same time; one per CPU of the cluster where not given.
        progress: called with rows staged and rows in all.

    Raises:
        BictError: the gallery or a transform cannot be used.
    """
    opened, loaded = Gallery.open(gallery), load_transforms(transforms, precision)
    if expect and not loaded[0].digest.startswith(expect):
        raise GalleryError(
            f"transform {loaded[0].digest[:12]} is not the planned one, {expect}: plan again, or restore the transform"
        )
    with open_engine(engine, address=address, workers=workers) as chosen, working(opened, loaded, "upgrade run"):
        return rooms.stage(opened, loaded, engine=chosen, progress=progress)


def status(gallery: str) -> UpgradeStatus:
    """How far the upgrade of a gallery is, also while another process works on it.

    Args:
        gallery: address of the gallery.

    Raises:
        BictError: there is no gallery.
    """
    return rooms.status(Gallery.open(gallery))


def verify(
    gallery: str,
    transforms: list[Path],
    *,
    precision: str = FULL,
    sample: int = 256,
    seed: int = 0,
    progress: Progress = silent,
) -> VerifyReport:
    """Check the staged vectors: complete, finite, as recorded, as recomputed; only then may they go live.

    Args:
        gallery: address of the gallery.
        transforms: the ones that were staged.
        precision: the one that they were staged in.
        sample: rows to recompute.
        seed: chooses them.
        progress: called with rows done and rows in all.

    Raises:
        BictError: nothing was staged by these transforms.
    """
    opened, loaded = Gallery.open(gallery), load_transforms(transforms, precision)
    with working(opened, loaded, "upgrade verify"):
        return rooms.verify(opened, loaded, sample=sample, seed=seed, progress=progress)


def index(gallery: str, *, progress: Progress = silent) -> Step:
    """Build the index of the staged column before it goes live, or of the live one where nothing is staged.

    Args:
        gallery: address of the gallery.
        progress: called with parts done and parts in all.

    Raises:
        BictError: the column is still being staged.
    """
    opened = Gallery.open(gallery)
    with working(opened, [], "upgrade index"):
        description = rooms.build_index(opened, progress=progress)
    column = (opened.metadata.staged or opened.metadata.active_column).name
    return Step(gallery, f"index: {description}", column, rooms.status(opened).next)


def switch(gallery: str) -> Step:
    """Search the staged vectors from now on, in one atomic step; the vectors before are kept.

    Args:
        gallery: address of the gallery.

    Raises:
        BictError: nothing is staged and verified, or rows changed since.
    """
    opened = Gallery.open(gallery)
    with working(opened, [], "upgrade switch"):
        column = rooms.switch(opened)
    return Step(gallery, "live", column, rooms.status(opened).next)


def rollback(gallery: str, *, leave_out: bool = False) -> Step:
    """Search the vectors from before the switch again, in one atomic step; the newer ones wait as staged.

    Args:
        gallery: address of the gallery.
        leave_out: go back although rows written since the switch have no vector there; they stay stored.

    Raises:
        BictError: no older vectors are kept, or rows would not be found any more.
    """
    opened = Gallery.open(gallery)
    with working(opened, [], "upgrade rollback"):
        column = rooms.rollback(opened, leave_out=leave_out)
    return Step(gallery, "live again", column, rooms.status(opened).next)


def discard(gallery: str) -> Step:
    """Give up the staged or half staged vectors; the live ones are not touched.

    Args:
        gallery: address of the gallery.

    Raises:
        BictError: nothing is staged, or rows have their only vector there.
    """
    opened = Gallery.open(gallery)
    with working(opened, [], "upgrade discard"):
        column = rooms.discard(opened)
    return Step(gallery, "discarded", column, rooms.status(opened).next)


def finalize(gallery: str, *, drop_base: bool = False, yes: bool = False, confirm: Confirm = agreed) -> Finalized:
    """Remove the vectors kept from before, free their disk, and say where copies may remain; ends the rollback.

    Vectors that a model wrote (the base) stay unless asked for: later upgrades are better when they start from them.

    Args:
        gallery: address of the gallery.
        drop_base: remove the base vectors too.
        yes: do not ask.
        confirm: asked before anything is removed.

    Raises:
        BictError: a column is staged, or rows would lose their only vector.
    """
    opened = Gallery.open(gallery)
    upgraded, base = kept_columns(opened)
    asks = not yes and confirm is not agreed
    if asks and base and not drop_base:
        drop_base = confirm(
            f"The base vectors {', '.join(column.name for column in base)} take {bytes_of(opened, base):,} bytes; "
            "later upgrades are better when they start from them. Remove them too?"
        )
    going = (*upgraded, *(base if drop_base else ()))
    names = ", ".join(column.name for column in going)
    if asks and going and not confirm(f"Remove {names} ({bytes_of(opened, going):,} bytes) for good?"):
        raise GalleryError(f"nothing was removed from {opened.address}: not confirmed")
    with working(opened, [], "upgrade finalize"):
        return rooms.finalize(opened, drop_base=drop_base)
