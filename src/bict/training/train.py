"""Train one model: alone, or backward compatible with an old one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bict.data.images import ImageSet
from bict.errors import DataError, RunError, SpaceError
from bict.losses import build_classification, classifier_of, old_prototypes
from bict.models import Encoder, Model, Preprocessing, default_preprocessing, embed_images, make_model
from bict.models.backbones import TimmBackbone, default_weights, load_pretrained
from bict.models.model import CARD
from bict.progress import Progress, silent
from bict.runs import claim, write_json
from bict.spaces import fingerprint
from bict.training.checkpoint import FILE as CHECKPOINT
from bict.training.checkpoint import load_checkpoint, save_checkpoint
from bict.training.loop import Backward, Loop, Trainee, make_optimizer
from bict.training.settings import TrainSettings

HISTORY = "history.json"


def train_model(
    images: ImageSet,
    settings: TrainSettings,
    out: Path,
    *,
    compatible_with: Model | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Model:
    """Train on all given images and write model, settings and loss history to a directory.

    A directory with a finished model of the same settings is loaded instead; one with an unfinished run of the same
    settings goes on from its last epoch with `resume`.

    Raises:
        DataError: fewer than two classes.
        SpaceError: the old model's dimension differs.
        RunError: the directory holds something else, or an unfinished run and `resume` was not asked for.
    """
    classes, labels = np.unique(images.labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"training images have {len(classes)} classes, at least 2 are needed")
    claim(out, describe_run(images, settings, compatible_with))
    if (out / CARD).exists():
        return Model.load(out)
    if (out / CHECKPOINT).exists() and not resume:
        raise RunError(f"{out} holds an unfinished training: add --resume to go on, or choose another --out")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        preprocessing, trainee = _start(images, len(classes), settings)
    if compatible_with is not None and compatible_with.space.dim != trainee.encoder.dim:
        raise SpaceError(
            f"the old model's vectors have {compatible_with.space.dim} dimensions, the new model's {trainee.encoder.dim}: "
            f"backward compatible training needs the same, add --dim {compatible_with.space.dim}"
        )
    backward = None if compatible_with is None else old_view(compatible_with, images, classes)
    if resume and (out / CHECKPOINT).exists():
        load_checkpoint(out, trainee)
    loop = Loop(trainee, images, torch.from_numpy(labels), preprocessing, settings, backward)
    _run_epochs(loop, trainee, settings, out, progress)
    return _finish(trainee, preprocessing, settings, out, tuple(classes.tolist()), compatible_with)


def describe_run(images: ImageSet, settings: TrainSettings, old: Model | None) -> dict[str, object]:
    """What decides a training run: settings, data and the old model."""
    data = {
        "name": images.name,
        "images": len(images),
        "ids": fingerprint("\n".join(images.ids.tolist()).encode())[:16],
    }
    return {
        "settings": settings.model_dump(),
        "data": data,
        "compatible_with": None if old is None else old.space.fingerprint[:16],
    }


def old_view(old: Model, images: ImageSet, classes: np.ndarray) -> Backward:
    """The frozen old classifier over the new model's classes, filled up with mean old vectors."""
    vectors = embed_images(old, images)
    known = {name: row for row, name in enumerate(old.card.classes)}
    seen = torch.tensor([known.get(name, -1) for name in classes.tolist()])
    labels = torch.from_numpy(np.searchsorted(classes, images.labels))
    head = old.classifier if old.classifier is not None else torch.zeros(1, old.space.dim)
    return Backward(old, old_prototypes(head, seen, torch.from_numpy(vectors.vectors), labels, len(classes)))


def _start(images: ImageSet, classes: int, settings: TrainSettings) -> tuple[Preprocessing, Trainee]:
    size = settings.size or images.source.own_size
    preprocessing = default_preprocessing(settings.backbone, images.source.channels, size)
    encoder = Encoder(settings.backbone, settings.pooling, settings.dim, images.source.channels)
    weights = default_weights(settings.backbone) if settings.weights == "auto" else settings.weights
    if isinstance(encoder.backbone, TimmBackbone) and weights != "none":
        load_pretrained(encoder.backbone, settings.backbone, weights)
    classification = build_classification(
        settings.classification, classes, encoder.dim, scale=settings.scale, margin=settings.margin
    )
    encoder = encoder.to(memory_format=torch.channels_last)
    return preprocessing, Trainee(encoder, classification, make_optimizer(encoder, classification, settings))


def _run_epochs(loop: Loop, trainee: Trainee, settings: TrainSettings, out: Path, progress: Progress) -> None:
    progress(len(trainee.history), settings.epochs)
    for epoch in range(len(trainee.history), settings.epochs):
        loop.run_epoch(epoch)
        if loop.accelerator.is_main_process:
            save_checkpoint(out, trainee)
        progress(epoch + 1, settings.epochs)


def _finish(
    trainee: Trainee,
    preprocessing: Preprocessing,
    settings: TrainSettings,
    out: Path,
    classes: tuple[str, ...],
    old: Model | None,
) -> Model:
    model = make_model(
        trainee.encoder.cpu(),
        name=out.name,
        backbone=settings.backbone,
        pooling=settings.pooling,
        preprocessing=preprocessing,
        neck_dim=settings.dim,
        classifier=classifier_of(trainee.classification).cpu(),
        classes=classes,
        compatible_with=None if old is None else old.space,
        training=settings.model_dump(),
    )
    write_json(out / HISTORY, trainee.history)
    model.save(out)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return model
