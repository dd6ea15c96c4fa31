"""`bict fit`: two models and training images, or two files of vectors, to a transform."""

from __future__ import annotations

import inspect
from pathlib import Path

from bict.assessment.fit import fit_best
from bict.data import DataAddress, ImageSet, load_part
from bict.embeddings import Embeddings
from bict.errors import RunError, SettingsError
from bict.models import Model
from bict.progress import Progress, silent
from bict.runs import require_writable
from bict.training.pairs import VIEWS, embed_pairs
from bict.transforms import QueryBridge, ResidualMLP, Transform, fit_ladder
from bict.transforms.directed import CARD
from bict.workflow.vectors import Vectors, VectorSettings, read_pairs, write_cards


def fit(
    *,
    old: Vectors,
    new: Vectors,
    out: Path,
    data: str | None = None,
    rung: str | None = None,
    views: int = VIEWS,
    class_weight: float = ResidualMLP.class_weight,
    epochs: int | None = ResidualMLP.epochs,
    held_out: float = 0.2,
    seed: int = 0,
    data_root: Path | None = None,
    strict: bool = False,
    vectors: VectorSettings = VectorSettings(),  # noqa: B008  (frozen)
    progress: Progress = silent,
) -> Transform | QueryBridge:
    """Fit the transform that carries stored old vectors into the space of the new model.

    From two model directories and training images, or from two files of vectors that both models made of the same
    items. Rungs are fitted and judged by retrieval on held-out classes; the best is fitted again on all pairs and
    written. From files it is the transform that `bict assess` would choose, whether or not it advises an upgrade, or
    the way that `--rung` names; beside it lie the two space cards and, for `bict doubtful`, a model of its errors.

    Args:
        old: directory of the model that made the gallery, or its vectors: .parquet, .arrow, .feather, .npz or .npy.
        new: directory of the new model, or its vectors of the same items.
        out: directory for the transform.
        data: with models: training images, never gallery images; NAME:PART[,key=value] picks a part (default: train).
        rung: with vectors: fit this one, such as ridge, or bridge-mlp for a map of queries (default: choose).
        views: with models: views of each image to fit on, the plain one included.
        class_weight: with models: weight of the classification under the frozen new classifier, for the MLP.
        epochs: with models: passes of the MLP over all views (default: 8, or as many as make 300 steps).
        held_out: with models: share of the classes to judge on.
        seed: of the split, the views and the MLP.
        data_root: folder in which the data lies.
        strict: stop at the first unreadable image instead of leaving it out.
        vectors: how files of vectors are read.
        progress: called with steps done and steps in all.

    Raises:
        BictError: the models or files, the data or the directory cannot be used.
    """
    if seed < 0:
        raise SettingsError(f"--seed {seed}: expected 0 or more")
    require_writable(Path(out))
    if (Path(out) / CARD).exists():
        raise RunError(f"{out} holds a transform already: choose another --out, or delete it")
    if isinstance(old, Embeddings) or isinstance(new, Embeddings) or not Path(old).is_dir():
        if data is not None:
            raise SettingsError(f"--data {data} goes with two model directories, and {old} is none: leave it out")
        _refuse_model_settings(views=views, class_weight=class_weight, epochs=epochs, held_out=held_out)
        return fit_vectors(old, new, out, rung, vectors, seed=seed, progress=progress)
    if data is None:
        raise SettingsError("two model directories need training images: add --data")
    if rung is not None:
        raise SettingsError("--rung goes with two files of vectors: with models leave it out")
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


def _refuse_model_settings(**given: float | None) -> None:
    """Settings that only a fit from models and images reads, where they are not at their default."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(fit).parameters.items()}
    for name, value in given.items():
        if value != defaults[name]:
            raise SettingsError(f"--{name.replace('_', '-')} goes with two model directories: with vectors leave it out")


def fit_vectors(
    old: Vectors,
    new: Vectors,
    out: Path,
    rung: str | None,
    vectors: VectorSettings,
    *,
    seed: int,
    progress: Progress = silent,
) -> Transform | QueryBridge:
    """The chosen or named way of an assessment, fitted on all pairs and written with the cards of both spaces."""
    pairs = read_pairs(old, new, vectors, seed=seed)
    found = fit_best(pairs, rung, seed=seed, progress=progress)
    write_cards(Path(out), pairs)
    if found.errors is not None:
        found.errors.save(out)
    found.way.save(out)
    return found.way


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
