"""`bict train`: images to a model."""

from __future__ import annotations

from pathlib import Path

from bict.data import DataAddress, load_part
from bict.errors import SettingsError
from bict.models import Model
from bict.progress import Progress, silent
from bict.training import TrainSettings, train_model
from bict.training.train import PIXEL_CACHE


def train(
    *,
    data: str,
    out: Path,
    compatible_with: Path | None = None,
    target: Path | None = None,
    settings: TrainSettings = TrainSettings(),  # noqa: B008  (frozen)
    resume: bool = False,
    pixel_cache: int = PIXEL_CACHE,
    data_root: Path | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> Model:
    """Train an embedding model, alone or backward compatible with an old one.

    Args:
        data: glyphs, omniglot, gldv2, a folder or a manifest; NAME:PART[,key=value] picks a part (default: train).
        out: directory for the model.
        compatible_with: directory of the old model whose gallery the new model's queries shall match.
        target: directory of a freely trained new model, for the backward losses that need one (bt2).
        settings: how to train.
        resume: go on with an unfinished training.
        pixel_cache: megabytes of decoded photos to keep in memory; those without room are decoded in every epoch.
        data_root: folder in which the data lies.
        strict: stop at the first unreadable image instead of leaving it out.
        progress: called with steps done and steps in all.

    Raises:
        BictError: the data, the settings, the old model or the directory cannot be used.
    """
    if pixel_cache < 0:
        raise SettingsError(f"--pixel-cache {pixel_cache}: expected 0 or more megabytes")
    old, free = (None if each is None else Model.load(each) for each in (compatible_with, target))
    address = DataAddress.parse(data, default_part="train")
    images = load_part(address, root=data_root, strict=strict)
    return train_model(
        images,
        settings,
        Path(out),
        compatible_with=old,
        target=free,
        resume=resume,
        pixel_cache=pixel_cache,
        progress=progress,
    )
