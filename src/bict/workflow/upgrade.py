"""`bict upgrade`: stored old vectors to upgraded ones, without one image; in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bict.engine import open_engine
from bict.errors import GalleryError
from bict.gallery import Gallery, UpgradePlan, UpgradeReport
from bict.gallery import plan as plan_upgrade
from bict.gallery import upgrade as upgrade_gallery
from bict.progress import Steps, silent_steps
from bict.transforms import Transform
from bict.transforms.precision import FULL

Confirm = Callable[[str], bool]


def agreed(_question: str) -> bool:
    """Ask nobody: a call from Python is agreement enough."""
    return True


def upgrade(
    gallery: str,
    transforms: list[Path],
    *,
    yes: bool = False,
    precision: str = FULL,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    confirm: Confirm = agreed,
    steps: Steps = silent_steps,
) -> UpgradeReport:
    """Stage the upgraded vectors beside the old ones, verify and index them, and switch to them in one step.

    No image is read: only the gallery and the transforms may be opened. Old vectors are kept, for `bict upgrade
    rollback`, until `bict upgrade finalize`. Killed, the same command goes on where it stopped. The steps are also
    commands of their own: bict upgrade plan, run, status, verify, index, switch, rollback, discard, finalize.

    Args:
        gallery: address of the gallery.
        transforms: directories of transforms; several where rows were written in several spaces.
        yes: do not ask before the upgrade begins.
        precision: of networks such as mlp: float32, bfloat16, float16; bict upgrade plan says what it gains and costs.
        engine: where vectors are transformed: local, in this process, or ray (pip install 'bict[ray]').
        address: of the Ray cluster, as `auto` or `ray-head:6379`; without one, a Ray is started on this machine.
        workers: processes of Ray at the same time; one per CPU of the cluster where not given.
        confirm: asked with the plan before anything is written.
        steps: given `stage`, `verify` and `index`, gives the progress of each.

    Raises:
        BictError: the gallery or a transform cannot be used, or a check failed; the old vectors stay live.
    """
    opened, loaded = Gallery.open(gallery), load_transforms(transforms, precision)
    if not yes and confirm is not agreed:
        planned = plan_upgrade(opened, loaded)
        if planned.problems:
            raise GalleryError(planned.problems[0])
        if not confirm(f"{summary(planned)} Upgrade?"):
            raise GalleryError(f"nothing was written to {opened.address}: the upgrade was not confirmed")
    with open_engine(engine, address=address, workers=workers) as chosen:
        return upgrade_gallery(opened, loaded, engine=chosen, steps=steps)


def load_transforms(transforms: list[Path], precision: str = FULL) -> list[Transform]:
    """Transforms from their directories, in a precision; a single path counts as a list of one."""
    paths = [transforms] if isinstance(transforms, str | Path) else transforms
    return [Transform.load(path).at(precision) for path in paths]


def summary(planned: UpgradePlan) -> str:
    """One sentence of a plan."""
    time = "" if planned.seconds is None else f", about {planned.seconds:,.0f} s of transforming"
    where = f"{planned.rows:,} rows of {planned.gallery} go to column {planned.column}"
    return f"{where}, {planned.bytes_to_write:,} bytes{time}."
