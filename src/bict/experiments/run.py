"""One upgrade, from images to a record; each step is skipped where it is done already."""

from __future__ import annotations

import json
import os
import platform
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bict.data import ImageSet, Splits, draw_splits
from bict.embeddings import Embeddings
from bict.errors import DataError
from bict.evaluation import PairResult, evaluate_pair
from bict.experiments.clock import Clock
from bict.experiments.plan import RunPlan
from bict.experiments.record import make_record, make_strips
from bict.gallery import Gallery, upgrade
from bict.models import Model, embed_images
from bict.progress import Progress, Steps, silent_steps
from bict.reports import ResultRecord, save_record, save_strips
from bict.runs import claim, write_json
from bict.spaces import fingerprint
from bict.training import TrainSettings, train_model
from bict.training.train import HISTORY
from bict.transforms import Transform
from bict.workflow.embed import write_gallery
from bict.workflow.fit import fit_transform
from bict.workflow.report import RESULT, STRIPS, report

LEAST_CLASSES = 3
PACKAGES = ("bict", "torch", "timm", "pytorch-metric-learning", "accelerate", "pylance", "numpy")


@dataclass
class Side:
    """A new model with what belongs to it: its transform, the gallery upgraded into its space, and its backfill."""

    model: Model
    transform: Transform
    gallery: Gallery
    opened: list[str]
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
    splits = draw_splits(images, plan.split)
    _require_enough(images, splits)
    claim(out, {"data": images.name, "images": _digest(images), "plan": plan.model_dump(mode="json")})
    clock = Clock(out / "timing.json", steps)
    _write_splits(images, splits, out / "splits.json")
    outcome = _Run(images, splits, plan, out, clock).make()
    with clock.step("evaluate"):
        outcome.pairs = _evaluate(outcome)
    with clock.step("report"):
        save_strips(make_strips(outcome, plan.seed), out / STRIPS)
    histories = {name: _history(out / name) for name in ("old", "new", "free") if (out / name).exists()}
    record = make_record(
        outcome,
        plan=plan,
        timing=clock.seconds,
        histories=histories,
        versions=_versions(),
        command=command,
        out=out,
    )
    save_record(record, out / RESULT)
    report(out)
    return record


@dataclass(frozen=True)
class _Run:
    """The steps, each skipped where its result is in the directory already."""

    images: ImageSet
    splits: Splits
    plan: RunPlan
    out: Path
    clock: Clock

    def make(self) -> Outcome:
        """All models, transforms and galleries."""
        old = self.train("old", self.plan.old, "old-train")
        gallery = self.old_gallery(old)
        base = gallery.vectors("v1")
        queries = embed_images(old, self.part("query"))
        new = self.side("new", old, self.train("new", self.plan.new, "train", old), gallery)
        free = None
        if self.plan.oracle:
            model = self.train("free", self.plan.new, "train")
            free = self.side("free", old, model, _copy_gallery(base, self.out / "gallery-free"))
        return Outcome(self.images, self.splits, old, base, queries, new, free)

    def part(self, name: str) -> ImageSet:
        return self.images.take(self.splits.rows(name))

    def train(self, name: str, settings: TrainSettings, part: str, old: Model | None = None) -> Model:
        with self.clock.step(f"train {name} model") as progress:
            return train_model(
                self.part(part), settings, self.out / name, compatible_with=old, resume=True, progress=progress
            )

    def old_gallery(self, old: Model) -> Gallery:
        path = self.out / "gallery"
        with self.clock.step("embed gallery") as progress:
            return _opened(path) or write_gallery(old, self.part("gallery"), str(path), progress)

    def side(self, name: str, old: Model, new: Model, gallery: Gallery) -> Side:
        """Fit towards one new model, upgrade a gallery with it, and embed what its rows need."""
        with self.clock.step(f"fit transform to {name}") as progress:
            transform = self.transform(name, old, new, progress)
        with self.clock.step(f"upgrade gallery to {name}") as progress:
            done = upgrade(gallery, transform, run_dir=self.out, steps=lambda _: nullcontext(progress))
            opened = self.out / f"opened-{name}.json"
            if not done.already_upgraded:
                write_json(opened, [_inside(path, self.out) for path in done.opened])
        with self.clock.step(f"backfill with {name}") as progress:
            path = self.out / f"backfill-{name}.parquet"
            if not path.exists():
                embed_images(new, self.part("gallery"), progress=progress).save(path)
            backfill = Embeddings.load(path)
        files = json.loads(opened.read_text()) if opened.exists() else []
        return Side(new, transform, gallery, files, backfill, embed_images(new, self.part("query")))

    def transform(self, name: str, old: Model, new: Model, progress: Progress) -> Transform:
        directory = self.out / f"transform-{name}"
        if (directory / "transform.json").exists():
            return Transform.load(directory)
        plan, images = self.plan, self.part("train")
        options = {"views": plan.views, "class_weight": plan.class_weight, "epochs": plan.fit_epochs, "seed": plan.seed}
        transform = fit_transform(old, new, images, **options, progress=progress)  # type: ignore[arg-type]
        transform.save(directory)
        return transform


def _opened(path: Path) -> Gallery | None:
    """The gallery at a path of this run; what a kill left half written is removed."""
    if not path.exists():
        return None
    if not (path / "vectors.lance" / "_versions").is_dir():
        shutil.rmtree(path)
        return None
    return Gallery.open(path)


def _copy_gallery(vectors: Embeddings, path: Path) -> Gallery:
    return _opened(path) or Gallery.create(path, vectors)


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


def _inside(path: str, directory: Path) -> str:
    """A path as seen from the run, so that a record says nothing of the machine it was made on."""
    return os.path.relpath(path, directory.resolve())


def _digest(images: ImageSet) -> str:
    """Hash over ids, labels and prescribed parts, so that a run is not continued with other data."""
    columns = (images.ids, images.labels, images.parts)
    return fingerprint(*("\n".join(column.astype(str).tolist()).encode() for column in columns))[:16]


def _require_enough(images: ImageSet, splits: Splits) -> None:
    """Refuse before hours of training what the choice of the transform would refuse after them."""
    _, counts = np.unique(images.labels[splits.train], return_counts=True)
    if len(counts) < LEAST_CLASSES or (counts > 1).sum() < LEAST_CLASSES - 1:
        raise DataError(
            f"{len(counts)} training classes, {(counts > 1).sum()} of them with 2 images or more: at least "
            f"{LEAST_CLASSES} are needed to choose a transform, {LEAST_CLASSES - 1} of them with 2 images"
        )


def _write_splits(images: ImageSet, splits: Splits, path: Path) -> None:
    parts = ("train", "old-train", "query", "gallery")
    write_json(path, {part: images.ids[splits.rows(part)].tolist() for part in parts})


def _history(directory: Path) -> list[dict[str, float]]:
    history: list[dict[str, float]] = json.loads((directory / HISTORY).read_text())
    return history


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
