"""`bict demo`: the whole upgrade on real images, in one command."""

from __future__ import annotations

from pathlib import Path

from bict.data import load_images
from bict.experiments.plan import demo_plan
from bict.experiments.run import run_upgrade
from bict.progress import Steps, silent_steps
from bict.reports import ResultRecord


def demo(
    *,
    data: str = "glyphs",
    data_root: Path | None = None,
    out: Path = Path("runs/demo"),
    seed: int = 0,
    quick: bool = False,
    strict: bool = False,
    steps: Steps = silent_steps,
) -> ResultRecord:
    """Run a whole model upgrade on images and report what it gained and lost.

    Trains an old model and a backward-compatible new one, fits the forward transform, upgrades the stored vectors of a
    LanceDB gallery with the images out of reach, and evaluates from the store. Started again, a killed run goes on.

    Args:
        data: glyphs (built in), omniglot, or the path of a folder or manifest.
        data_root: folder in which the data lies.
        out: directory for models, gallery, transform, result.json and report.html.
        seed: of the splits, the models and the transform.
        quick: fewer epochs, and no free new model as oracle.
        strict: stop at the first unreadable image instead of leaving it out.
        steps: called with each step's name; gives the context it runs in and its progress.

    Raises:
        BictError: the data or the directory cannot be used, or a step refused.
    """
    with steps("prepare images") as progress:
        images = load_images(data, root=data_root, strict=strict, progress=progress)
    plan = demo_plan(images, seed=seed, quick=quick)
    root = f" --data-root {data_root}" if data_root else ""
    command = f"bict demo --data {data}{root} --out {out} --seed {seed}{' --quick' if quick else ''}"
    return run_upgrade(images, plan, Path(out), steps=steps, command=command)
