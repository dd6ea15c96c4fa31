"""Models, vectors and transforms of an experiment: made once, kept on disk, and found again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from bict.data import ImageSet, Splits, draw_splits
from bict.embeddings import Embeddings
from bict.experiments.clock import Clock
from bict.experiments.scenarios import ScenarioPlan
from bict.models import Model, embed_images
from bict.progress import Steps
from bict.spaces import Space, fingerprint
from bict.training import TrainSettings, train_model
from bict.training.pairs import embed_views, pairs_of
from bict.training.train import describe_run
from bict.transforms import Pairs, QueryBridge, Transform, fit_bridge, fit_ladder
from bict.transforms.ladder import DEFAULT_RUNGS
from bict.transforms.registry import build_rung

QUICK_NETWORK = {"inner": 128, "epochs": 40}


class Workshop:
    """Makes what a scenario needs from one image set; everything that was made before is loaded.

    What is kept is named by what decides it, so that scenarios and methods share models, and a changed setting makes
    a new one.
    """

    def __init__(self, images: ImageSet, plan: ScenarioPlan, out: Path, steps: Steps) -> None:
        self.images, self.plan, self.out = images, plan, out
        self.splits: Splits = draw_splits(images, plan.split)
        out.mkdir(parents=True, exist_ok=True)
        self.clock = Clock(out / "timing.json", steps)
        self.folders: dict[str, Path] = {}

    def part(self, name: str) -> ImageSet:
        """The images of one part of the splits."""
        return self.images.take(self.splits.rows(name))

    def model(
        self,
        name: str,
        settings: TrainSettings,
        *,
        old: Model | None = None,
        target: Model | None = None,
        images: ImageSet | None = None,
    ) -> Model:
        """A trained model, backward compatible with an old one; those named old or side see the old images."""
        if images is None:
            images = self.part("old-train" if name in ("old", "side") else "train")
        folder = self.out / f"{name}-{_digest(describe_run(images, settings, old, target))}"
        with self.clock.step(f"train {name} ({folder.name[-8:]})") as progress:
            model = train_model(
                images, settings, folder, compatible_with=old, target=target, resume=True, progress=progress
            )
        self.folders[model.space.fingerprint] = folder
        return model

    def vectors(self, model: Model, part: str) -> Embeddings:
        """A model's vectors of one part."""
        images = self.part(part)
        path = self.folders[model.space.fingerprint] / f"{part}-{_digest(images.ids.tolist())}.parquet"
        if not path.exists():
            with self.clock.step(f"embed {part} with {path.parent.name}") as progress:
                embed_images(model, images, progress=progress).save(path)
        return Embeddings.load(path)

    def beside(self, old: Embeddings, side: Model, part: str) -> Embeddings:
        """Old vectors with the vectors of a second model behind them, `(rows, both dims)`, not of unit length."""
        return _beside(old, self.vectors(side, part).vectors, side.space)

    def pairs(self, old: Model, new: Model, *, views: int = 0, images: ImageSet | None = None) -> Pairs:
        """Fit pairs on training images, plain and in augmented views."""
        images = self.part("train") if images is None else images
        views = views or self.plan.views
        return pairs_of(self._views(old, images)[:views], self._views(new, images)[:views], new, images)

    def transform(
        self,
        old: Model,
        new: Model,
        rungs: Sequence[str] = DEFAULT_RUNGS,
        *,
        settings: Mapping[str, Any] | None = None,
        views: int = 0,
        images: int = 0,
        side: Model | None = None,
        on: ImageSet | None = None,
    ) -> Transform:
        """A forward transform from the old to the new model's space: the best of some rungs.

        Args:
            old: the model of the stored vectors.
            new: the model of the new space.
            rungs: names to choose from.
            settings: of the first rung.
            views: of each image; 0 for those of the plan.
            images: so many of the training images; 0 for all.
            side: a second model whose vectors are stored behind the old ones.
            on: training images to fit on instead of the scenario's.
        """
        own = {**(settings or {}), **({} if side is None else {"side_dim": side.space.dim})}
        if self.plan.quick and "inner" in build_rung(rungs[0]).settings():
            own = {**QUICK_NETWORK, **own}
        chosen = {rungs[0]: own} if own else {}
        parts = [None if each is None else each.space.fingerprint for each in (old, side)]
        fitted = {name: build_rung(name, chosen.get(name)).settings() for name in rungs}
        key = [*parts, fitted, views or self.plan.views, images, self.plan.seed]
        key += [] if on is None else [on.ids.tolist()]
        folder = self.folders[new.space.fingerprint] / f"psi-{rungs[-1]}-{_digest(key)}"
        if not (folder / "transform.json").exists():
            pairs, source = self.pairs(old, new, views=views, images=on), old.space
            if side is not None:
                pairs, source = self._with_side(pairs, old, side)
            if images:
                drawn = np.random.default_rng(self.plan.seed).permutation(pairs.images)
                pairs = pairs.take(np.sort(drawn[:images]))
            with self.clock.step(f"fit {', '.join(rungs)} to {folder.parent.name}") as progress:
                transform, _ = fit_ladder(
                    pairs, source, new.space, rungs=rungs, settings=chosen, seed=self.plan.seed, progress=progress
                )
            transform.save(folder)
        return Transform.load(folder)

    def bridge(self, old: Model, new: Model, form: str) -> QueryBridge:
        """A bridge for the new model's queries into the old space."""
        key = [old.space.fingerprint, self.plan.views, self.plan.seed]
        folder = self.folders[new.space.fingerprint] / f"bridge-{form}-{_digest(key)}"
        if not (folder / "transform.json").exists():
            pairs = self.pairs(old, new)
            with self.clock.step(f"fit {form} bridge to {old.space.name}"):
                fit_bridge(pairs, new.space, old.space, form=form, seed=self.plan.seed).save(folder)
        return QueryBridge.load(folder)

    def _with_side(self, pairs: Pairs, old: Model, side: Model) -> tuple[Pairs, Space]:
        views = self._views(side, self.part("train"))[: pairs.views]
        joined = np.concatenate([pairs.old, views], axis=2)
        return Pairs(joined, pairs.new, pairs.labels, pairs.prototypes), _both(old.space, side.space)

    def _views(self, model: Model, images: ImageSet) -> NDArray[np.float32]:
        key = [self.plan.views, self.plan.seed, images.ids.tolist()]
        path = self.folders[model.space.fingerprint] / f"views-{_digest(key)}.safetensors"
        if not path.exists():
            with self.clock.step(f"embed views with {path.parent.name}") as progress:
                (views,) = embed_views([model], images, views=self.plan.views, seed=self.plan.seed, progress=progress)
            part = path.with_suffix(f".{os.getpid()}.part")
            save_file({"views": np.ascontiguousarray(views)}, part)
            part.replace(path)
        return load_file(path)["views"]


def _both(old: Space, side: Space) -> Space:
    both = fingerprint(old.fingerprint.encode(), side.fingerprint.encode())
    return Space(name=f"{old.name}+{side.name}", fingerprint=both, dim=old.dim + side.dim, normalised=False)


def _beside(old: Embeddings, side: NDArray[np.float32], space: Space) -> Embeddings:
    vectors = np.concatenate([old.vectors, side], axis=1)
    return Embeddings(old.ids, vectors, _both(old.space, space), old.labels)


def _digest(key: object) -> str:
    return fingerprint(json.dumps(key, sort_keys=True).encode())[:8]
