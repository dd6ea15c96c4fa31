"""`bict benchmark`: the landmark and face benchmarks of the literature, by their own protocols."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bict.data import ImageSet, load_face_pairs, load_gldv2_retrieval, load_revisited
from bict.embeddings import Embeddings
from bict.errors import SettingsError, UnknownName
from bict.evaluation import landmark_scores, revisited_scores, true_accept_rate
from bict.models import Model, embed_images
from bict.progress import Progress, silent
from bict.spaces import compare
from bict.transforms import Transform

BENCHMARKS = ("gldv2", "roxford", "rparis", "faces")
FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
Scores = dict[str, dict[str, float]]


def benchmark(
    name: str,
    *,
    model: Path,
    gallery_model: Path | None = None,
    transform: Path | None = None,
    pairs: Path | None = None,
    data_root: Path | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> Scores:
    """Score a model, or an upgrade, on a benchmark of the literature, whose files lie in --data-root.

    gldv2: mAP@100 of the private and public queries. roxford and rparis: mAP and mP@k, easy, medium and hard. faces:
    TAR at FAR over the pairs of a file.

    Args:
        name: gldv2, roxford, rparis or faces.
        model: directory of the model that embeds the queries (faces: the first of each pair).
        gallery_model: directory of the model that embeds the gallery (faces: the second); default: the same.
        transform: directory of a forward transform that the gallery's vectors go through.
        pairs: faces: a file with the columns path_a, path_b, same.
        data_root: folder in which the benchmark lies.
        strict: stop at the first unreadable image instead of leaving it out.
        progress: called with images done and images in all.

    Raises:
        BictError: the benchmark, the models or the transform cannot be used, or the spaces are not comparable.
    """
    if name not in BENCHMARKS:
        raise UnknownName("benchmark", name, BENCHMARKS)
    sides = _Sides(model, gallery_model, transform, progress)
    if name == "faces":
        return _faces(sides, pairs, data_root, strict=strict)
    if name == "gldv2":
        retrieval = load_gldv2_retrieval(data_root, strict=strict)
        query, gallery = sides.of(retrieval.images)
        scores = landmark_scores(query, gallery, retrieval.relevant, retrieval.usage)
    else:
        revisited = load_revisited(name, data_root, strict=strict)
        scores = revisited_scores(*sides.of(revisited.images), revisited.truth)
    return {kind: score.scores for kind, score in scores.items()}


class _Sides:
    """The models of both sides, and the transform between them."""

    def __init__(self, model: Path, gallery_model: Path | None, transform: Path | None, progress: Progress) -> None:
        self.query = Model.load(model)
        self.gallery = Model.load(gallery_model or model)
        self.transform = None if transform is None else Transform.load(transform)
        self.progress = progress

    def of(self, images: ImageSet) -> tuple[Embeddings, Embeddings]:
        """Vectors of the images of the parts query and gallery."""
        query, gallery = (images.take(np.flatnonzero(images.parts == part)) for part in ("query", "gallery"))
        return embed_images(self.query, query, progress=self.progress), self.stored(gallery)

    def stored(self, images: ImageSet) -> Embeddings:
        """Vectors as the gallery has them after the upgrade."""
        vectors = embed_images(self.gallery, images, progress=self.progress)
        return vectors if self.transform is None else self.transform.apply(vectors)


def _faces(sides: _Sides, path: Path | None, root: Path | None, *, strict: bool) -> Scores:
    if path is None:
        raise SettingsError("faces needs a file of pairs with the columns path_a, path_b, same: name it with --pairs")
    pairs = load_face_pairs(path, root, strict=strict)
    query, gallery = embed_images(sides.query, pairs.images, progress=sides.progress), sides.stored(pairs.images)
    compare(query.space, gallery.space)
    similarities = np.einsum("nd,nd->n", query.vectors[pairs.first], gallery.vectors[pairs.second])
    impostors = int((~pairs.same).sum())
    rates = [rate for rate in FALSE_ACCEPT_RATES if impostors * rate >= 1] or [FALSE_ACCEPT_RATES[0]]
    found = {f"TAR@FAR={rate:g}": true_accept_rate(similarities, pairs.same, rate) for rate in rates}
    return {name: {"rate": rate.rate, "threshold": rate.threshold} for name, rate in found.items()}
