"""One upgrade, from images to a record: the flow of the library in nine steps, each skipped where it is done already."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from bict.data import ImageSet, Splits, draw_splits
from bict.embeddings import Embeddings
from bict.errors import GalleryError
from bict.evaluation import PairResult, evaluate_pair
from bict.experiments.clock import Clock
from bict.experiments.plan import RunPlan
from bict.experiments.record import make_record, make_strips
from bict.gallery import Gallery, UpgradeReport, upgrade
from bict.models import Model, embed_images
from bict.progress import Progress, Steps, silent_steps
from bict.reports import ResultRecord, save_record, save_strips
from bict.runs import claim, write_json
from bict.training import train_model
from bict.training.train import HISTORY
from bict.transforms import Transform
from bict.workflow.embed import write_gallery
from bict.workflow.fit import fit_transform
from bict.workflow.report import RESULT, STRIPS, report

PACKAGES = ("bict", "torch", "timm", "pytorch-metric-learning", "accelerate", "pylance", "numpy")


@dataclass
class Side:
    """A new model with what belongs to it: its transform, the gallery upgraded into its space, and its backfill."""

    model: Model
    transform: Transform
    gallery: Gallery
    upgraded: UpgradeReport
    backfill: Embeddings
    queries: Embeddings


@dataclass
class Outcome:
    """Everything a run made, for the record and for closer looks."""

    images: ImageSet
    splits: Splits
    old: Model
    old_gallery: Embeddings
    old_queries: Embeddings
    new: Side
    free: Side | None
    pairs: dict[str, PairResult] = field(default_factory=dict)


def run_upgrade(
    images: ImageSet, plan: RunPlan, out: Path, *, steps: Steps = silent_steps, command: str = ""
) -> ResultRecord:
    """Train, embed, fit, upgrade the stored vectors, and evaluate from vectors read back from the store.

    The directory gets the models, the galleries, the transforms, the splits, `result.json` and `report.html`. A
    killed run goes on where it stopped when it is started again with the same plan.

    Raises:
        RunError: the directory cannot be written or holds a run with another plan.
        BictError: a step refused.
    """
    out = Path(out)
    claim(out, {"data": images.name, "images": len(images), "plan": plan.model_dump(mode="json")})
    clock = Clock(out / "timing.json", steps)
    with clock.step("draw splits"):
        splits = draw_splits(images, plan.split)
        _write_splits(images, splits, out / "splits.json")
    outcome = _make(images, splits, plan, out, clock)
    with clock.step("evaluate"):
        outcome.pairs = _evaluate(outcome)
    with clock.step("report"):
        save_strips(make_strips(outcome, plan.seed), out / STRIPS)
    histories = {name: _history(out / name) for name in ("old", "new", "free") if (out / name).exists()}
    record = make_record(outcome, plan, clock.seconds, histories, _versions(), command, out)
    save_record(record, out / RESULT)
    report(out)
    return record


def _make(images: ImageSet, splits: Splits, plan: RunPlan, out: Path, clock: Clock) -> Outcome:
    with clock.step("train old model") as progress:
        old = train_model(images.take(splits.old_train), plan.old, out / "old", resume=True, progress=progress)
    with clock.step("embed gallery") as progress:
        gallery = _old_gallery(old, images.take(splits.gallery), out / "gallery", progress)
    old_gallery = gallery.vectors("v1")
    with clock.step("train new model") as progress:
        train = images.take(splits.train)
        new = train_model(train, plan.new, out / "new", compatible_with=old, resume=True, progress=progress)
    free = None
    if plan.oracle:
        with clock.step("train free new model") as progress:
            free = train_model(train, plan.new, out / "free", resume=True, progress=progress)
    new_side = _side("new", old, new, gallery, images, splits, plan, out, clock)
    free_side = None
    if free is not None:
        copy = _copy_gallery(old_gallery, out / "gallery-free")
        free_side = _side("free new", old, free, copy, images, splits, plan, out, clock)
    queries = embed_images(old, images.take(splits.query))
    return Outcome(images, splits, old, old_gallery, queries, new_side, free_side)


def _side(
    name: str,
    old: Model,
    new: Model,
    gallery: Gallery,
    images: ImageSet,
    splits: Splits,
    plan: RunPlan,
    out: Path,
    clock: Clock,
) -> Side:
    """Fit towards one new model, upgrade a gallery with it, and embed what its rows need."""
    directory = out / ("transform" if name == "new" else "transform-free")
    with clock.step(f"fit transform ({name})") as progress:
        transform = _transform(old, new, images.take(splits.train), plan, directory, progress)
    with clock.step(f"upgrade gallery ({name})") as progress:
        report = upgrade(gallery, transform, run_dir=out, progress=progress)
    with clock.step(f"backfill ({name})") as progress:
        path = out / f"backfill-{name.split()[0]}.parquet"
        if not path.exists():
            embed_images(new, images.take(splits.gallery), progress=progress).save(path)
        backfill = Embeddings.load(path)
        queries = embed_images(new, images.take(splits.query))
    return Side(new, transform, gallery, report, backfill, queries)


def _old_gallery(old: Model, images: ImageSet, path: Path, progress: Progress) -> Gallery:
    if path.exists():
        try:
            return Gallery.open(path)
        except GalleryError:  # killed while it was written
            shutil.rmtree(path)
    return write_gallery(old, images, path, progress)


def _copy_gallery(vectors: Embeddings, path: Path) -> Gallery:
    if path.exists():
        try:
            return Gallery.open(path)
        except GalleryError:
            shutil.rmtree(path)
    return Gallery.create(path, vectors)


def _transform(
    old: Model, new: Model, images: ImageSet, plan: RunPlan, directory: Path, progress: Progress
) -> Transform:
    if (directory / "transform.json").exists():
        return Transform.load(directory)
    options = {"views": plan.views, "class_weight": plan.class_weight, "seed": plan.seed}
    transform = fit_transform(old, new, images, **options, progress=progress)  # type: ignore[arg-type]
    transform.save(directory)
    return transform


def _evaluate(outcome: Outcome) -> dict[str, PairResult]:
    """Every row of the table, by name."""
    new, free = outcome.new, outcome.free
    sides = {
        "old": ("old", outcome.old_queries, "old", outcome.old_gallery),
        "backward": ("new", new.queries, "old", outcome.old_gallery),
        "upgraded": ("new", new.queries, "upgraded", new.gallery.vectors()),
        "backfill": ("new", new.queries, "new", new.backfill),
    }
    if free is not None:
        sides["free_upgraded"] = ("free new", free.queries, "upgraded", free.gallery.vectors())
        sides["free_backfill"] = ("free new", free.queries, "free new", free.backfill)
    return {
        name: evaluate_pair(query, gallery, name=name, query_name=query_name, gallery_name=gallery_name)
        for name, (query_name, query, gallery_name, gallery) in sides.items()
    }


def _write_splits(images: ImageSet, splits: Splits, path: Path) -> None:
    parts = ("train", "old-train", "query", "gallery")
    write_json(path, {part: images.ids[splits.rows(part)].tolist() for part in parts})


def _history(directory: Path) -> list[dict[str, float]]:
    history: list[dict[str, float]] = json.loads((directory / HISTORY).read_text())
    return history


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
