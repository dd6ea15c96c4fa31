"""`bict fit`: two models and training images to a forward transform."""

from __future__ import annotations

from pathlib import Path

from bict.data import DataAddress, ImageSet, load_part
from bict.errors import RunError, SettingsError
from bict.models import Model
from bict.progress import Progress, silent
from bict.runs import require_writable
from bict.training.pairs import VIEWS, embed_pairs
from bict.transforms import ResidualMLP, Transform, fit_ladder
from bict.transforms.transform import CARD


def fit(
    *,
    old: Path,
    new: Path,
    data: str,
    out: Path,
    views: int = VIEWS,
    class_weight: float = ResidualMLP.class_weight,
    epochs: int | None = ResidualMLP.epochs,
    held_out: float = 0.2,
    seed: int = 0,
    data_root: Path | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> Transform:
    """Fit the forward transform that carries stored old vectors into the space of the new model.

    The rungs identity, Procrustes, ridge and residual MLP are fitted and judged by retrieval on held-out classes; the
    best is fitted again on all pairs and written.

    Args:
        old: directory of the model that made the gallery.
        new: directory of the new model.
        data: training images, never gallery images; NAME:PART[,key=value] picks a part (default: train).
        out: directory for the transform.
        views: views of each image to fit on, the plain one included.
        class_weight: weight of the classification under the frozen new classifier, for the MLP.
        epochs: passes of the MLP over all views (default: 8, or as many as make 300 steps).
        held_out: share of the classes to judge on.
        seed: of the split, the views and the MLP.
        data_root: folder in which the data lies.
        strict: stop at the first unreadable image instead of leaving it out.
        progress: called with steps done and steps in all.

    Raises:
        BictError: the models, the data or the directory cannot be used.
    """
    if seed < 0:
        raise SettingsError(f"--seed {seed}: expected 0 or more")
    require_writable(Path(out))
    if (Path(out) / CARD).exists():
        raise RunError(f"{out} holds a transform already: choose another --out, or delete it")
    models = Model.load(old), Model.load(new)
    images = load_part(DataAddress.parse(data, default_part="train"), root=data_root, strict=strict)
    transform = fit_transform(
        *models,
        images,
        views=views,
        class_weight=class_weight,
        epochs=epochs,
        held_out=held_out,
        seed=seed,
        progress=progress,
    )
    transform.save(out)
    return transform


def fit_transform(
    old: Model,
    new: Model,
    images: ImageSet,
    *,
    views: int = VIEWS,
    class_weight: float = ResidualMLP.class_weight,
    epochs: int | None = ResidualMLP.epochs,
    held_out: float = 0.2,
    seed: int = 0,
    progress: Progress = silent,
) -> Transform:
    """The best rung of the ladder for two loaded models; see `fit`."""
    pairs = embed_pairs(
        old, new, images, views=views, seed=seed, progress=lambda done, total: progress(done, 2 * total)
    )
    settings = {"mlp": {"class_weight": class_weight, "epochs": epochs}}
    transform, _ = fit_ladder(
        pairs,
        old.space,
        new.space,
        settings=settings,
        held_out=held_out,
        seed=seed,
        progress=lambda done, total: progress(total + done, 2 * total),
    )
    return transform
