"""Train one model: alone, or backward compatible with an old one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from bict.data.images import ImageSet
from bict.errors import DataError, RunError, SettingsError, SpaceError
from bict.losses import backward_loss, build_classification, classifier_of, old_prototypes
from bict.models import Encoder, Model, Preprocessing, default_preprocessing, embed_images, make_model
from bict.models.backbones import TimmBackbone, default_weights, load_pretrained
from bict.models.model import CARD
from bict.progress import Progress, silent
from bict.runs import claim, write_json
from bict.spaces import fingerprint
from bict.training.checkpoint import FILE as CHECKPOINT
from bict.training.checkpoint import load_checkpoint, save_checkpoint
from bict.training.loop import Backward, Loop, Trainee, accelerator, check_batch, make_optimizer
from bict.training.randomness import own_randomness
from bict.training.settings import TrainSettings
from bict.training.turned import TURNS, embed_turned

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
        UnknownName, SettingsError: a setting that names nothing, or cannot be used with these images.
        RunError: the directory holds something else, or an unfinished run and `resume` was not asked for.
    """
    names = images.labels.astype(str)
    classes, labels = np.unique(names, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"training images have {len(classes)} classes, at least 2 are needed")
    run = describe_run(images, settings, compatible_with)
    with own_randomness(settings.seed):
        if (out / CARD).exists():
            claim(out, run)
            return Model.load(out)
        preprocessing, trainee = _start(images, len(classes), settings, compatible_with)
        with accelerator().main_process_first():
            claim(out, run)
        if (out / CHECKPOINT).exists() and not resume:
            raise RunError(f"{out} holds an unfinished training: add --resume to go on, or choose another --out")
        if resume and (out / CHECKPOINT).exists():
            load_checkpoint(out, trainee)
        backward = None if compatible_with is None else old_view(compatible_with, images, classes, settings)
        loop = Loop(trainee, images, torch.from_numpy(labels), preprocessing, settings, backward=backward)
        _run_epochs(loop, out, progress)
        if loop.accelerator.is_main_process:
            _write(trainee, preprocessing, settings, out, classes=tuple(classes.tolist()), old=compatible_with)
        loop.accelerator.wait_for_everyone()
        return Model.load(out)


def describe_run(images: ImageSet, settings: TrainSettings, old: Model | None) -> dict[str, object]:
    """What decides a training run: settings, data and the old model."""
    data = {
        "name": images.name,
        "images": len(images),
        "ids": _digest(images.ids),
        "labels": _digest(images.labels),
    }
    return {
        "settings": settings.model_dump(),
        "data": data,
        "compatible_with": None if old is None else old.space.fingerprint[:16],
    }


def _digest(names: NDArray[Any]) -> str:
    return fingerprint("\n".join(names.astype(str).tolist()).encode())[:16]


def old_view(old: Model, images: ImageSet, classes: NDArray[Any], settings: TrainSettings) -> Backward:
    """One frozen row per class of the new model: mean old vectors, or the old classifier filled up with them.

    Characters also get rows for each class turned by one, two and three quarters: mean old vectors, always.
    """
    wanted = settings.augment and settings.turned > 0 and settings.backward_weight > 0
    turns = TURNS if wanted and images.kind == "characters" else 1
    labels = torch.from_numpy(np.searchsorted(classes, images.labels.astype(str)))
    parts = [embed_images(old, images).vectors, *(embed_turned(old, images, quarter) for quarter in range(1, turns))]
    head = old.classifier if old.classifier is not None else torch.zeros(1, old.space.dim)
    keep_head = settings.prototypes == "classifier" and old.classifier is not None
    known = {name: row for row, name in enumerate(old.card.classes)} if keep_head else {}
    seen = torch.tensor([known.get(name, -1) for name in classes.tolist()])
    nobody = torch.full_like(seen, -1)
    rows = [
        old_prototypes(head, nobody if quarter else seen, torch.from_numpy(part), labels, len(classes))
        for quarter, part in enumerate(parts)
    ]
    return Backward(old, torch.cat(rows), turns)


def _start(images: ImageSet, classes: int, settings: TrainSettings, old: Model | None) -> tuple[Preprocessing, Trainee]:
    """Everything the settings name, built before the directory is touched."""
    backward_loss(settings.backward_loss)
    check_batch(settings.batch_size, accelerator().num_processes)
    size = settings.size or images.source.own_size
    try:
        preprocessing = default_preprocessing(settings.backbone, images.source.channels, size)
    except ValidationError as error:
        raise SettingsError(f"size = {size}: {error.errors()[0]['msg'].lower()}") from error
    encoder = Encoder(settings.backbone, settings.pooling, settings.dim, images.source.channels)
    _load_weights(encoder, settings)
    if old is not None and old.space.dim != encoder.dim:
        raise SpaceError(
            f"the old model's vectors have {old.space.dim} dimensions, the new model's {encoder.dim}: "
            f"backward compatible training needs the same, add --dim {old.space.dim}"
        )
    classification = build_classification(
        settings.classification, classes, encoder.dim, scale=settings.scale, margin=settings.margin
    )
    encoder = encoder.to(memory_format=torch.channels_last)
    return preprocessing, Trainee(encoder, classification, make_optimizer(encoder, classification, settings))


def _load_weights(encoder: Encoder, settings: TrainSettings) -> None:
    weights = default_weights(settings.backbone) if settings.weights == "auto" else settings.weights
    if weights == "none":
        return
    if not isinstance(encoder.backbone, TimmBackbone):
        raise SettingsError(f"weights = {weights!r}: {settings.backbone} has no pretrained weights, only timm:NAME has")
    load_pretrained(encoder.backbone, settings.backbone, weights)


def _run_epochs(loop: Loop, out: Path, progress: Progress) -> None:
    main = loop.accelerator.is_main_process
    for epoch in range(len(loop.trainee.history), loop.settings.epochs):
        loop.run_epoch(epoch, progress if main else silent)
        if main:
            save_checkpoint(out, loop.trainee)


def _write(
    trainee: Trainee,
    preprocessing: Preprocessing,
    settings: TrainSettings,
    out: Path,
    *,
    classes: tuple[str, ...],
    old: Model | None,
) -> None:
    """History, weights and card, in this order: a directory with a card is finished."""
    learned_from_old = settings.backward_weight > 0 and settings.epochs > 0
    model = make_model(
        trainee.encoder.cpu(),
        name=out.resolve().name or "model",
        backbone=settings.backbone,
        pooling=settings.pooling,
        preprocessing=preprocessing,
        neck_dim=settings.dim,
        classifier=classifier_of(trainee.classification).cpu(),
        classes=classes,
        compatible_with=old.space if old is not None and learned_from_old else None,
        training=settings.model_dump(),
    )
    write_json(out / HISTORY, trainee.history)
    model.save(out)
    (out / CHECKPOINT).unlink(missing_ok=True)
