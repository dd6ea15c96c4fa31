"""Fit every rung on some classes, judge it on others by retrieval, keep the best, refit it on all pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import Embeddings
from bict.errors import SettingsError, TransformError
from bict.evaluation import bootstrap_interval, evaluate_pair, nearest
from bict.progress import Progress, silent
from bict.spaces import Space
from bict.transforms.card import Ladder, RungScore
from bict.transforms.holdout import held_out_classes, held_out_images
from bict.transforms.registry import build_rung
from bict.transforms.rung import Pairs, Rung
from bict.transforms.transform import Transform

NEIGHBOURS = 10
DEFAULT_RUNGS = ("identity", "procrustes", "ridge", "mlp")


def fit_ladder(
    pairs: Pairs,
    source: Space,
    target: Space,
    *,
    rungs: Sequence[str] = DEFAULT_RUNGS,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    held_out: float = 0.2,
    queries: int = 5000,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Transform, Ladder]:
    """The rung that retrieves best on held-out classes, refitted on all pairs.

    Judged by mAP with query = new vectors and gallery = psi(old vectors) of the held-out images, plain view, each
    image's own row excluded. Where the pairs have no labels, images are held out instead of classes, and the measure is
    the share of the new model's 10 nearest neighbours that are also among the 10 nearest upgraded vectors (fewer than
    10 where few images are held out). Of equals the earlier rung wins. A rung that cannot be fitted is skipped, and
    its note says why.

    Args:
        pairs: of training images; never of gallery images.
        source: space of the old vectors.
        target: space of the new vectors.
        rungs: names to try, simplest first.
        settings: keyword arguments for rungs, by name.
        held_out: part of the classes (without labels: of the images) to judge on.
        queries: most held-out images used as queries; all of them are gallery.
        seed: of the split, the choice of queries, and the rungs that draw random numbers.
        progress: told the steps done, and of how many.

    Raises:
        TransformError: dimensions that are not those of the spaces, too few classes or images, or no rung that fits.
        VectorError: vectors that cannot lie in their space.
        SettingsError: no rungs, a held-out share outside 0 to 1, or no queries.
        UnknownName: a rung or a setting there is not.
    """
    settings = settings or {}
    candidates = {name: build_rung(name, settings.get(name), seed=seed) for name in dict.fromkeys([*rungs, *settings])}
    if not rungs or queries < 1:
        raise SettingsError(f"expected 1 or more rungs and queries, found {len(rungs)} rungs and {queries} queries")
    pairs.require_spaces(source, target)
    judge = _Judge.draw(pairs, source, target, share=held_out, queries=queries, seed=seed)
    parts = [_part(progress, at, len(rungs) + 1) for at in range(len(rungs) + 1)]
    scores = [judge.score(candidates[name], part) for name, part in zip(rungs, parts, strict=False)]
    chosen = _best(scores)
    ladder = Ladder(
        chosen=chosen.name,
        measure="neighbour_recall" if pairs.labels is None else "map",
        pairs=pairs.images,
        views=pairs.views,
        held_out_classes=judge.classes,
        held_out_images=judge.held.images,
        queries=len(judge.queries),
        rungs=tuple(scores),
    )
    rung = build_rung(chosen.name, settings.get(chosen.name), seed=seed)
    rung.fit(pairs, progress=parts[-1])
    parts[-1](1, 1)
    return Transform(rung, source, target, data_hash=pairs.digest(), scores=ladder), ladder


@dataclass(frozen=True, eq=False)
class _Judge:
    """Pairs to fit on, pairs of other classes to judge on, and which of the latter are queries."""

    kept: Pairs
    held: Pairs
    classes: int | None
    queries: NDArray[np.int64]
    source: Space
    target: Space

    @classmethod
    def draw(cls, pairs: Pairs, source: Space, target: Space, *, share: float, queries: int, seed: int) -> _Judge:
        number: int | None = None
        if pairs.labels is None:
            held = held_out_images(pairs.images, share, seed=seed)
            kept = pairs.take(~held)
        else:
            classes = held_out_classes(pairs.labels, share, seed=seed)
            held, number, kept = np.isin(pairs.labels, classes), len(classes), pairs.without_classes(classes)
        if held.sum() < 3:
            raise TransformError(f"judging a rung needs 3 held-out images, found {held.sum()}: pass more pairs")
        drawn = np.random.default_rng(seed).permutation(int(held.sum()))[:queries]
        return cls(kept, pairs.take(held), number, np.sort(drawn), source, target)

    def score(self, rung: Rung, progress: Progress) -> RungScore:
        """Fit the rung on the kept pairs and judge it; a rung that refuses is noted, not raised."""
        started = time.perf_counter()
        try:
            fitted = rung.fit(self.kept, progress=progress)
            seconds = time.perf_counter() - started
            upgraded = Transform(fitted, self.source, self.target).apply(self._plain(self.held.old, self.source))
        except TransformError as error:
            progress(1, 1)
            return RungScore(name=rung.name, note=f"skipped: {error}")
        progress(1, 1)
        new = self._plain(self.held.new, self.target)
        if self.held.labels is None:
            recall, interval = _neighbour_recall(new, upgraded, self.queries)
            return RungScore(
                name=rung.name, neighbour_recall=recall, neighbour_recall_interval=interval, seconds=seconds
            )
        result = evaluate_pair(
            new.take(self.queries), upgraded, name=rung.name, query_name="new", gallery_name="upgraded", ks=()
        )
        return RungScore(
            name=rung.name, map=result.scores["map"], map_interval=result.intervals["map"], seconds=seconds
        )

    def _plain(self, side: NDArray[np.float32], space: Space) -> Embeddings:
        return Embeddings(np.arange(self.held.images), side[0], space, self.held.labels)


def _neighbour_recall(
    new: Embeddings, upgraded: Embeddings, queries: NDArray[np.int64]
) -> tuple[float, tuple[float, float]]:
    k = min(NEIGHBOURS, (len(new) - 1) // 2)
    query = new.take(queries)
    wanted, found = nearest(query, new, k)[0], nearest(query, upgraded, k)[0]
    shares = (wanted[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1)
    return float(shares.mean()), bootstrap_interval(shares)


def _best(scores: Sequence[RungScore]) -> RungScore:
    judged = [rung for rung in scores if rung.score is not None]
    if not judged:
        raise TransformError(f"no rung could be fitted: {'; '.join(f'{rung.name} {rung.note}' for rung in scores)}")
    return max(judged, key=lambda rung: rung.score or 0.0)


def _part(progress: Progress | None, at: int, parts: int) -> Progress:
    """A callback for one of several fits that reports percent of all of them to the caller's."""
    if progress is None:
        return silent

    def report(done: int, total: int) -> None:
        progress(100 * at + 100 * done // total, 100 * parts)

    return report
