"""The ways to serve after a new model came, each fitted on pairs and turned into a query side and a gallery side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.assessment.pairing import PairedVectors
from bict.embeddings import Embeddings, normalise
from bict.errors import UnknownName
from bict.evaluation import fused
from bict.progress import Progress
from bict.reports.assessment import Kind
from bict.transforms import BRIDGES, RUNGS, Pairs, QueryBridge, Transform, build_rung, fit_bridge

UPGRADES = ("identity", "procrustes", "low-rank", "ridge", "mlp")
"""Rungs tried as forward transforms, simplest first."""
BRIDGE, FUSED = "bridge-", "fused-"
LABELLED = "head"
"""The form of bridge that learns the classes of the pairs."""
HALF = (0.5, 0.5)
HEAD_ROWS = 6_000
"""Most pairs that a head learns from, drawn at random: more of them take minutes."""
MANY_ROWS = 20_000
NARROW = {"hidden": 256}
FEW_ROWS = {**NARROW, "batch": 256}
"""Settings of the networks here, whose inputs are published models' vectors of a thousand dimensions: as good as the
defaults in what was tried, in a quarter of the time."""
Fitted = Transform | QueryBridge


@dataclass(frozen=True)
class Way:
    """One way to serve.

    Attributes:
        name: "old", "backfill", the name of a rung, "bridge-FORM", "old-head" or "fused-RUNG".
        kind: what is stored and what a query goes through.
        rung: of the transform, or form of the bridge; empty where nothing is fitted.
    """

    name: str
    kind: Kind
    rung: str = ""


OLD, BACKFILL = Way("old", "old"), Way("backfill", "backfill")
CONTROL = Way("old-head", "control", LABELLED)
"""The head on the old model's own queries: what the labels give without any new model."""


def candidates(names: tuple[str, ...], *, labelled: bool) -> list[Way]:
    """The ways to fit: named ones, or the ladder and every bridge; forms that learn classes need labels.

    Raises:
        UnknownName: neither a rung nor "bridge-" and a form of a bridge.
    """
    bridges = [f"{BRIDGE}{form}" for form in BRIDGES]
    known = [*(name for name in RUNGS if name != LABELLED), *bridges]
    chosen = names or (*UPGRADES, *(name for name in bridges if labelled or way(name).kind != "head"))
    for name in chosen:
        if name not in known:
            raise UnknownName("rung", name, known)
    found = [way(name) for name in dict.fromkeys(chosen)]
    return [*found, CONTROL] if any(one.kind == "head" for one in found) else found


def way(name: str) -> Way:
    """The way of that name."""
    form = name.removeprefix(BRIDGE)
    if form != name:
        return Way(name, "head" if form == LABELLED else "bridge", form)
    return Way(name, "upgrade", name)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some of the pairs, as the two models' embeddings and as pairs to fit on."""

    old: Embeddings
    new: Embeddings

    @classmethod
    def of(cls, pairs: PairedVectors, rows: NDArray[np.int64]) -> Rows:
        """The rows selected by an index array."""
        labels = None if pairs.labels is None else pairs.labels[rows]
        ids = pairs.ids[rows]
        return cls(
            Embeddings(ids, pairs.old[rows], pairs.old_space, labels),
            Embeddings(ids, pairs.new[rows], pairs.new_space, labels),
        )

    def take(self, rows: NDArray[Any]) -> Rows:
        """The rows selected by an index or boolean array."""
        return Rows(self.old.take(rows), self.new.take(rows))

    def __len__(self) -> int:
        return len(self.old)

    def pairs(self) -> Pairs:
        """One view of each item; labels as class numbers."""
        codes = None if self.old.labels is None else np.unique(self.old.labels, return_inverse=True)[1]
        return Pairs(self.old.vectors[None], self.new.vectors[None], codes)


def fit_way(way: Way, rows: Rows, *, seed: int, progress: Progress) -> Fitted:
    """The transform or bridge of a way, fitted on these rows.

    Raises:
        TransformError: it cannot be fitted on them.
    """
    if way.rung == LABELLED and len(rows) > HEAD_ROWS:
        rows = rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), HEAD_ROWS, replace=False)))
    pairs, old, new = rows.pairs(), rows.old.space, rows.new.space
    settings = (NARROW if len(rows) > MANY_ROWS else FEW_ROWS) if way.rung == "mlp" else {}
    if way.kind == "control":
        return fit_bridge(Pairs(pairs.old, pairs.old, pairs.labels), old, old, form=way.rung, seed=seed)
    if way.kind in ("bridge", "head"):
        return fit_bridge(pairs, new, old, form=way.rung, settings=settings, seed=seed)
    pairs.require_spaces(old, new)
    rung = build_rung(way.rung, settings, seed=seed)
    return Transform(rung.fit(pairs, progress=progress), old, new, data_hash=pairs.digest())


@dataclass(frozen=True, eq=False)
class Sides:
    """Queries and gallery of both models: what every way is made of."""

    query: Rows
    gallery: Rows

    def serve(self, way: Way, fitted: Fitted | None) -> tuple[Embeddings, Embeddings]:
        """Query side and gallery side `(queries, dim)`, `(gallery, dim)` of one way.

        Raises:
            TransformError: a vector is mapped to zero or to what is not finite.
        """
        if fitted is None:
            return (self.query.old, self.gallery.old) if way.kind == "old" else (self.query.new, self.gallery.new)
        if way.kind in ("bridge", "head"):
            return fitted.apply(self.query.new), self.gallery.old
        if way.kind == "control":
            return fitted.apply(self.query.old), self.gallery.old
        upgraded = fitted.apply(self.gallery.old)
        if way.kind == "upgrade":
            return self.query.new, upgraded
        queries = _unit(self.query.old), _unit(self.query.new)
        return fused(*queries, _unit(self.gallery.old), _unit(upgraded), HALF)


def fusible(pairs: PairedVectors) -> bool:
    """Whether scores of both models can be added: only cosines can."""
    return all(space.normalised or space.metric == "cosine" for space in (pairs.old_space, pairs.new_space))


def _unit(side: Embeddings) -> Embeddings:
    """The same items at unit length, where only the angle counts anyway."""
    space = side.space.model_copy(update={"normalised": True})
    return side if side.space.normalised else Embeddings(side.ids, normalise(side.vectors), space, side.labels)
