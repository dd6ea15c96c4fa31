"""Who may see which images: training and evaluation classes are disjoint, query and gallery images too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bict.data.images import ImageSet
from bict.data.published import in_number_order, published_classes, published_images
from bict.errors import DataError, UnknownName

Scenario = Literal["extended-class", "extended-data", "open-class"]
Drawing = Literal["own", "published"]
PARTS = ("train", "old-train", "query", "gallery", "evaluation", "all")


class SplitPlan(BaseModel):
    """How the splits are drawn.

    `extended-class`: the old model sees a share of the training classes; `extended-data`: a share of the images of
    every training class; `open-class`: a share of the classes, which the new model then never sees.
    `evaluation_share` is the share of the classes kept for evaluation where the data has no official split.

    `drawing` says how the old model's share is drawn: `own` by `seed`; `published` by the fixed seeds and rules of the
    hot-refresh paper's code (see `published`), where classes are numbered by name and images keep their order. Query,
    gallery and evaluation classes follow `seed` either way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: Scenario = "extended-class"
    drawing: Drawing = "own"
    old_share: float = Field(default=0.3, gt=0, le=1)
    evaluation_share: float = Field(default=0.4, gt=0, lt=1)
    queries_per_class: int = Field(default=2, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, eq=False)
class Splits:
    """Row numbers of each part of an image set; `old_train` is a subset of `train`, in `open-class` apart from it."""

    train: NDArray[np.int64]
    old_train: NDArray[np.int64]
    query: NDArray[np.int64]
    gallery: NDArray[np.int64]

    def rows(self, part: str) -> NDArray[np.int64]:
        """Sorted rows of a part: one of `PARTS`.

        Raises:
            UnknownName: another part.
        """
        if part not in PARTS:
            raise UnknownName("part", part, PARTS)
        if part == "evaluation":
            return np.union1d(self.query, self.gallery)
        if part == "all":
            return np.union1d(np.union1d(self.train, self.old_train), self.rows("evaluation"))
        named: NDArray[np.int64] = getattr(self, part.replace("-", "_"))
        return named


def draw_splits(images: ImageSet, plan: SplitPlan) -> Splits:
    """Draw training, old training, query and gallery rows by the plan's seed.

    Raises:
        DataError: too few classes, or classes too small, to train and to evaluate.
    """
    rng = np.random.default_rng(plan.seed)
    training = _is_training(images, plan, rng)
    query, gallery = _query_and_gallery(images, np.flatnonzero(~training), plan, rng)
    train, old = _train_and_old(images.labels, np.flatnonzero(training), plan, rng)
    return Splits(train, old, query, gallery)


def draw_training(images: ImageSet, plan: SplitPlan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and old training rows of data that prescribes a part for every image, as `draw_splits` draws them.

    Such data needs no query and no gallery image to be trained on.

    Raises:
        DataError: too few classes, or a class in the training and the evaluation part.
    """
    rng = np.random.default_rng(plan.seed)
    return _train_and_old(images.labels, np.flatnonzero(_is_training(images, plan, rng)), plan, rng)


def _is_training(images: ImageSet, plan: SplitPlan, rng: np.random.Generator) -> NDArray[np.bool_]:
    """By the data's own split where it has one, for whole classes; other classes are drawn."""
    _require_classes(images.labels, "all", 2)
    open_rows = images.parts == ""
    official = images.parts == "train"
    held = ~open_rows & ~official
    shared = np.intersect1d(images.labels[official], images.labels[held])
    if len(shared):
        raise DataError(f"{len(shared)} classes are in the training and the evaluation part, the first is {shared[0]}")
    drawn = rng.permutation(np.unique(images.labels[~np.isin(images.labels, images.labels[~open_rows])]))
    for_training = drawn[max(1, round(len(drawn) * plan.evaluation_share)) :]
    return np.isin(images.labels, np.union1d(images.labels[official], for_training))


def _query_and_gallery(
    images: ImageSet, rows: NDArray[np.int64], plan: SplitPlan, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sides the data prescribes; elsewhere some images of each class become queries and the others the gallery."""
    is_query = images.parts == "query"
    for members in _by_class(images.labels, rows[np.isin(images.parts[rows], ["", "evaluation"])]):
        is_query[rng.permutation(members)[: min(plan.queries_per_class, len(members) - 1)]] = True
    query, gallery = rows[is_query[rows]], rows[~is_query[rows]]
    if not len(np.intersect1d(images.labels[query], images.labels[gallery])):
        raise DataError("no evaluation class has both a query and a gallery image: give each class at least 2 images")
    return query, gallery


def _train_and_old(
    labels: NDArray[Any], train: NDArray[np.int64], plan: SplitPlan, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that the new and the old model are trained on."""
    _require_classes(
        labels[train], "training", 2, ": the others are held out for evaluation, add images of more classes"
    )
    own = plan.drawing == "own"
    old = _own_old_rows(labels, train, plan, rng) if own else _published_old_rows(labels, train, plan)
    if plan.scenario == "open-class":
        train = np.setdiff1d(train, old)
        _require_classes(labels[train], "new training", 2, ": the old model has the others, give it a smaller share")
    return train, old


def _own_old_rows(
    labels: NDArray[Any], train: NDArray[np.int64], plan: SplitPlan, rng: np.random.Generator
) -> NDArray[np.int64]:
    if plan.scenario != "extended-data":
        names = np.unique(labels[train])
        seen = rng.permutation(names)[: max(2, round(len(names) * plan.old_share))]
        return train[np.isin(labels[train], seen)]
    drawn = [
        rng.permutation(members)[: max(1, round(len(members) * plan.old_share))] for members in _by_class(labels, train)
    ]
    return np.sort(np.concatenate(drawn))


def _published_old_rows(labels: NDArray[Any], train: NDArray[np.int64], plan: SplitPlan) -> NDArray[np.int64]:
    classes = sorted(_by_class(labels, train), key=lambda members: in_number_order(str(labels[members[0]])))
    if plan.scenario != "extended-data":
        picked = [classes[number] for number in published_classes(len(classes), plan.old_share)]
    else:
        picked = [
            members[published_images(len(members), number, plan.old_share)] for number, members in enumerate(classes)
        ]
    return np.sort(np.concatenate(picked))


def _by_class(labels: NDArray[Any], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each class, ascending, classes sorted by name."""
    if not len(rows):
        return []
    names = labels[rows]
    order = np.argsort(names, kind="stable")
    return np.split(rows[order], np.flatnonzero(names[order][1:] != names[order][:-1]) + 1)


def _require_classes(labels: NDArray[Any], what: str, least: int, cure: str = "") -> None:
    found = len(np.unique(labels))
    if found < least:
        raise DataError(f"{what} images have {found} classes, at least {least} are needed{cure}")
