"""Train one model: alone, or backward compatible with an old one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from bict.data.images import ImageSet
from bict.data.kept_pixels import keep_pixels
from bict.errors import DataError, RunError, SettingsError, SpaceError
from bict.losses import build_backward_loss, build_classification, classifier_of, find_backward_loss
from bict.models import Encoder, Model, Preprocessing, default_preprocessing, make_model
from bict.models.backbones import TimmBackbone, default_weights, load_pretrained
from bict.models.model import CARD
from bict.progress import Progress, silent
from bict.runs import claim, write_json
from bict.spaces import fingerprint
from bict.training.backward import look_at, rows_in
from bict.training.checkpoint import FILE as CHECKPOINT
from bict.training.checkpoint import load_checkpoint, save_checkpoint
from bict.training.loop import Loop, Trainee, accelerator, check_batch, make_optimizer
from bict.training.randomness import own_randomness
from bict.training.settings import TrainSettings

HISTORY = "history.json"
PIXEL_CACHE = 1024
"""Megabytes: 21,000 photos of 128 x 128 pixels."""


def train_model(
    images: ImageSet,
    settings: TrainSettings,
    out: Path,
    *,
    compatible_with: Model | None = None,
    target: Model | None = None,
    resume: bool = False,
    pixel_cache: int = PIXEL_CACHE,
    progress: Progress = silent,
) -> Model:
    """Train on all given images and write model, settings and loss history to a directory.

    A directory with a finished model of the same settings is loaded instead; one with an unfinished run of the same
    settings goes on from its last epoch with `resume`.

    Args:
        images: training images.
        settings: how to train.
        out: directory of the model.
        compatible_with: the old model.
        target: a freely trained new model, for the backward losses that need one.
        resume: go on with an unfinished training.
        pixel_cache: megabytes of decoded photos that are kept in memory, in all processes together.
        progress: called with steps done and steps in all.

    Raises:
        DataError: fewer than two classes.
        SpaceError: the old model's dimension differs, and `other_dim` does not allow it.
        UnknownName, SettingsError: a setting that names nothing, or cannot be used with these images.
        RunError: the directory holds something else, or an unfinished run and `resume` was not asked for.
    """
    names = images.labels.astype(str)
    classes, labels = np.unique(names, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"training images have {len(classes)} classes, at least 2 are needed")
    if compatible_with is not None:
        _require_parts(settings, compatible_with, target)
    elif target is not None:
        raise SettingsError("a target is for training towards an old model: add --compatible-with, or leave it out")
    run = describe_run(images, settings, compatible_with, target)
    with own_randomness(settings.seed):
        if (out / CARD).exists():
            claim(out, run)
            return Model.load(out)
        preprocessing, encoder, classification = _start(images, classes, settings, compatible_with)
        _claim(out, run, resume=resume)
        images = _kept(images, preprocessing, pixel_cache)
        backward = None if compatible_with is None else look_at(compatible_with, images, classes, settings, target)
        loss = None if backward is None else build_backward_loss(settings.backward_loss, backward.view, encoder.dim)
        optimizer = make_optimizer([encoder, classification, *([] if loss is None else [loss])], settings)
        trainee = Trainee(encoder, classification, optimizer, loss)
        if resume and (out / CHECKPOINT).exists():
            load_checkpoint(out, trainee)
        loop = Loop(trainee, images, torch.from_numpy(labels), preprocessing, settings, backward=backward)
        _run_epochs(loop, out, progress)
        if loop.accelerator.is_main_process:
            _write(trainee, preprocessing, settings, out, classes=tuple(classes.tolist()), old=compatible_with)
        loop.accelerator.wait_for_everyone()
        return Model.load(out)


def describe_run(
    images: ImageSet, settings: TrainSettings, old: Model | None, target: Model | None = None
) -> dict[str, object]:
    """What decides a training run: settings, data and the older models."""
    return {
        "settings": settings.model_dump(),
        "data": describe_images(images),
        "compatible_with": None if old is None else old.space.fingerprint[:16],
        "target": None if target is None else target.space.fingerprint[:16],
    }


def describe_images(images: ImageSet) -> dict[str, object]:
    """What tells one set of images from another."""
    return {
        "name": images.name,
        "images": len(images),
        "ids": _digest(images.ids),
        "labels": _digest(images.labels),
    }


def _digest(names: NDArray[Any]) -> str:
    return fingerprint("\n".join(names.astype(str).tolist()).encode())[:16]


def _require_parts(settings: TrainSettings, old: Model, target: Model | None) -> None:
    """Refuse a backward loss that needs what is not there."""
    kind = find_backward_loss(settings.backward_loss)
    if kind.needs_target and target is None:
        raise SettingsError(f"{kind.name} needs a freely trained new model: train one, and name it with --target")
    if kind.needs_neck and not settings.dim:
        raise SettingsError(f"{kind.name} works in the encoder's neck, which dim = 0 leaves out: set --dim")
    if settings.prototypes == "classifier" and old.classifier is None:
        raise SettingsError(f"{old.space} has no classifier: use --prototypes means, which needs only its vectors")


def _start(
    images: ImageSet, classes: NDArray[Any], settings: TrainSettings, old: Model | None
) -> tuple[Preprocessing, Encoder, nn.Module]:
    """Everything the settings name, built before the directory is touched."""
    check_batch(settings.batch_size, accelerator().num_processes)
    size = settings.size or images.source.own_size
    try:
        preprocessing = default_preprocessing(settings.backbone, images.source.channels, size)
    except ValidationError as error:
        raise SettingsError(f"size = {size}: {error.errors()[0]['msg'].lower()}") from error
    encoder = Encoder(settings.backbone, settings.pooling, settings.dim, images.source.channels)
    _load_weights(encoder, settings)
    if old is not None and old.space.dim != encoder.dim and not settings.other_dim:
        raise SpaceError(
            f"the old model's vectors have {old.space.dim} dimensions, the new model's {encoder.dim}: backward "
            f"compatible training needs the same, add --dim {old.space.dim} (or --other-dim, to search them padded)"
        )
    known = None if old is None or old.classifier is None else (rows_in(old, classes), old.classifier)
    classification = build_classification(
        settings.classification, len(classes), encoder.dim, scale=settings.scale, margin=settings.margin, known=known
    )
    return preprocessing, encoder.to(memory_format=torch.channels_last), classification


def _claim(out: Path, run: dict[str, object], *, resume: bool) -> None:
    """Take the directory for this run; an unfinished one is there to be resumed."""
    with accelerator().main_process_first():
        claim(out, run)
    if (out / CHECKPOINT).exists() and not resume:
        raise RunError(f"{out} holds an unfinished training: add --resume to go on, or choose another --out")


def _kept(images: ImageSet, preprocessing: Preprocessing, megabytes: int) -> ImageSet:
    """The images, of whose decoded pixels this process keeps its share."""
    limit = megabytes * 2**20 // accelerator().num_processes
    return keep_pixels(images, preprocessing.size, preprocessing.channels, limit)


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
    aligned = trainee.backward is not None and trainee.backward.aligns
    learned_from_old = aligned and settings.weight > 0 and settings.epochs > 0
    older = old.space if learned_from_old and old is not None else None
    about: dict[str, Any] = {"backbone": settings.backbone, "pooling": settings.pooling, "preprocessing": preprocessing}
    about["training"] = settings.model_dump()
    encoder, name = trainee.encoder.cpu(), out.resolve().name or "model"
    classifier = classifier_of(trainee.classification).cpu()
    if trainee.backward is not None and isinstance(encoder.neck, nn.Linear):
        with torch.no_grad():
            classifier = trainee.backward.cpu().served(classifier)
        trainee.backward.fold(encoder.neck)
    model = make_model(
        encoder,
        name=name,
        neck_dim=settings.dim,
        classifier=classifier,
        classes=classes,
        compatible_with=older if older is not None and older.dim == encoder.dim else None,
        **about,
    )
    write_json(out / HISTORY, trainee.history)
    model.save(out)
    (out / CHECKPOINT).unlink(missing_ok=True)
