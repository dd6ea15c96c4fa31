"""What answers a new query after an upgrade by each family of methods, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bict.embeddings import Embeddings, normalise
from bict.evaluation import (
    BACKFILL_RATIOS,
    BackfillCurve,
    PairResult,
    backfilled_rows,
    evaluate_pair,
    fused,
    mixed_gallery,
    random_order,
    rank_merged,
    score_gap,
    strict_criterion,
    uncertain_first,
)
from bict.experiments.methods import Method
from bict.experiments.scenarios import ScenarioPlan
from bict.experiments.workshop import Workshop
from bict.losses import fit_dim
from bict.models import Model
from bict.spaces import Space, compare
from bict.training import TrainSettings
from bict.transforms import Transform, slerp
from bict.transforms.fastfill import FastFill

KEPT_WEIGHT = 0.5
"""Of the old model's query, beside 1 for the new one's."""
STRICT_ROWS = 2000
MERGED_AT = 0.5


@dataclass
class Serving:
    """The rows of one method's table; `metrics` gets what is measured beside them."""

    workshop: Workshop
    plan: ScenarioPlan
    method: Method
    metrics: dict[str, float | None] = field(default_factory=dict)

    def pairs(self) -> Iterator[PairResult]:
        """Old, the method's own rows, and the free new model's backfill."""
        shop = self.workshop
        old = shop.model("old", _over(self.plan.old, self.method.old))
        free = shop.model("free", _over(self.plan.new, self.method.free))
        yield self._pair("old", "old", shop.vectors(old, "query"), "old", shop.vectors(old, "gallery"))
        families = {"backward": self.backward, "transform": self.forward, "bridge": self.bridge, "merge": self.merge}
        yield from families[self.method.family](old, free)
        query, gallery = shop.vectors(free, "query"), shop.vectors(free, "gallery")
        yield self._pair("free_backfill", "free new", query, "free new", gallery)

    def backward(self, old: Model, free: Model) -> Iterator[PairResult]:
        """A model trained towards the old one; the old vectors as they are, and carried to it."""
        shop, settings = self.workshop, _over(self.plan.new, self.method.new)
        new = free
        if settings.weight > 0:
            new = shop.model("new", settings, old=old, target=free if self.method.target else None)
        query, gallery = shop.vectors(new, "query"), shop.vectors(old, "gallery")
        seen = as_seen(gallery, query.space, declared=bool(new.space.backward_compatible_with))
        yield self._pair("backward", "new", query, "old", seen)
        transform = self._transform(old, new)
        upgraded = transform.apply(gallery)
        yield self._pair("upgraded", "new", query, "upgraded", upgraded)
        backfill = shop.vectors(new, "gallery")
        yield self._pair("backfill", "new", query, "new", backfill)
        both = blended(query, transform.apply(shop.vectors(old, "query")))
        yield self._pair("blended", "new + old", both, "upgraded", upgraded)
        yield self._fused(query, shop.vectors(old, "query"), upgraded, gallery)
        self._measure_space(gallery, seen, backfill, query)
        self._measure_backfill(query, upgraded, backfill, random_order(len(upgraded), seed=self.plan.seed))

    def forward(self, old: Model, free: Model) -> Iterator[PairResult]:
        """Old vectors carried to a freely trained model."""
        shop = self.workshop
        query, gallery = shop.vectors(free, "query"), shop.vectors(old, "gallery")
        transform = self._transform(old, free)
        stored = shop.beside(gallery, self._side(), "gallery") if self.method.side else gallery
        upgraded = transform.apply(stored)
        yield self._pair("upgraded", "free new", query, "upgraded", upgraded)
        if not self.method.side:
            both = blended(query, transform.apply(shop.vectors(old, "query")))
            yield self._pair("blended", "free new + old", both, "upgraded", upgraded)
        yield self._fused(query, shop.vectors(old, "query"), upgraded, gallery)
        order = random_order(len(upgraded), seed=self.plan.seed)
        if isinstance(transform.rung, FastFill):
            order = uncertain_first(transform.rung.variance(stored.vectors).astype(np.float64))
        self._measure_backfill(query, upgraded, shop.vectors(free, "gallery"), order)

    def bridge(self, old: Model, free: Model) -> Iterator[PairResult]:
        """Queries of a freely trained model carried to the old vectors, which stay as they are."""
        shop, form = self.workshop, self.method.rung
        query = shop.bridge(old, free, "procrustes" if form == "slerp" else form).apply(shop.vectors(free, "query"))
        if form == "slerp":
            query = slerp(shop.vectors(old, "query"), query)
        yield self._pair("bridged", "bridged new", query, "old", shop.vectors(old, "gallery"))

    def merge(self, old: Model, free: Model) -> Iterator[PairResult]:
        """Both models search their part of a gallery that is re-embedded bit by bit; the row is at one half."""
        shop, scores = self.workshop, []
        old_query, new_query = shop.vectors(old, "query"), shop.vectors(free, "query")
        old_gallery, new_gallery = shop.vectors(old, "gallery"), shop.vectors(free, "gallery")
        order = random_order(len(old_gallery), seed=self.plan.seed)
        for ratio in BACKFILL_RATIOS:
            rows = backfilled_rows(order, ratio)
            query, gallery = rank_merged(old_query, new_query, old_gallery, new_gallery, rows)
            pair = self._pair("merged", "old and free new", query, f"{ratio:.0%} free new", gallery)
            scores.append(pair.scores["map"])
            if ratio == MERGED_AT:
                yield pair
        self._record(BackfillCurve(BACKFILL_RATIOS, tuple(scores)))

    def _transform(self, old: Model, new: Model) -> Transform:
        method = self.method
        if not method.rung:
            return self.workshop.transform(old, new)
        return self.workshop.transform(
            old,
            new,
            [method.rung],
            settings=method.rung_settings,
            views=method.views,
            images=method.images,
            side=self._side() if method.side else None,
        )

    def _side(self) -> Model:
        """A second model of the old data, whose vector is stored beside the old one."""
        over = {"classification": "softmax", "seed": self.plan.seed + 1}
        return self.workshop.model("side", _over(self.plan.old, over))

    def _measure_space(self, old: Embeddings, seen: Embeddings, new: Embeddings, query: Embeddings) -> None:
        """Strict criterion on some gallery rows, and how far new-old scores lie from new-new ones."""
        if seen.space.dim == old.space.dim and old.space.fingerprint in new.space.backward_compatible_with:
            rows = np.random.default_rng(self.plan.seed).permutation(len(old))[:STRICT_ROWS]
            strict = strict_criterion(old.take(rows), new.take(rows))
            self.metrics |= {"strict_criterion": strict.overall}
        gap = score_gap((query, new), (query, seen), seed=self.plan.seed)
        self.metrics |= {"score_gap_same": gap.same_class.value, "score_gap_different": gap.different_class.value}

    def _measure_backfill(
        self, query: Embeddings, stored: Embeddings, fresh: Embeddings, order: np.ndarray[Any, Any]
    ) -> None:
        scores = []
        for ratio in BACKFILL_RATIOS:
            gallery = mixed_gallery(stored, fresh, backfilled_rows(order, ratio))
            scores.append(self._pair("mixed", "new", query, f"{ratio:.0%} new", gallery).scores["map"])
        self._record(BackfillCurve(BACKFILL_RATIOS, tuple(scores)))

    def _record(self, curve: BackfillCurve) -> None:
        self.metrics |= {"backfill_area": curve.area, "backfill_worst": curve.worst[1]}
        self.metrics |= {"backfill_monotone": float(curve.monotone)}
        pairs = zip(curve.ratios, curve.scores, strict=True)
        self.metrics |= {f"backfill_{ratio:.2f}": score for ratio, score in pairs}

    def _fused(self, query: Embeddings, kept_query: Embeddings, upgraded: Embeddings, kept: Embeddings) -> PairResult:
        sides = fused(query, kept_query, upgraded, kept, weights=(1.0, KEPT_WEIGHT))
        return self._pair("fused", "new + old", sides[0], "upgraded + old", sides[1])

    @staticmethod
    def _pair(name: str, query_name: str, query: Embeddings, gallery_name: str, gallery: Embeddings) -> PairResult:
        return evaluate_pair(query, gallery, name=name, query_name=query_name, gallery_name=gallery_name)


def as_seen(old: Embeddings, new: Space, *, declared: bool = True) -> Embeddings:
    """Old vectors as queries of the new space meet them: as they are, or cut or filled up with zeros to its dimension.

    Raises:
        SpaceError: the dimensions agree, and the new space declares no compatibility though it should.
    """
    if declared and old.space.dim == new.dim:
        compare(new, old.space)
        return old
    vectors = fit_dim(torch.tensor(old.vectors), new.dim).numpy()
    return Embeddings(old.ids, vectors, new, old.labels)


def blended(query: Embeddings, carried: Embeddings) -> Embeddings:
    """One query vector from both models, `z + psi(o) / 2` at unit length; what is stored stays one vector."""
    vectors = normalise(query.vectors + KEPT_WEIGHT * carried.vectors)
    return Embeddings(query.ids, vectors, query.space, query.labels)


def _over(base: TrainSettings, over: dict[str, Any]) -> TrainSettings:
    return TrainSettings.model_validate({**base.model_dump(), **over})
