"""The one training loop: classification plus weighted backward loss, on one device or several."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from bict.data.images import ImageSet
from bict.errors import SettingsError
from bict.losses import BackwardLoss, Batch, classifier_of
from bict.models import Encoder, Preprocessing
from bict.progress import Progress, silent
from bict.training.augment import AUGMENTATIONS, augment
from bict.training.backward import Backward
from bict.training.picture import shown_to
from bict.training.randomness import own_randomness
from bict.training.settings import TrainSettings
from bict.training.turned import draw_quarters, turn

MOMENTUM = 0.9


class PixelBatches(Dataset[tuple[Any, Any, Any]]):
    """Whole batches of an image set: pixels `(batch, size, size, channels)` uint8, classes and rows `(batch,)`."""

    def __init__(self, images: ImageSet, labels: torch.Tensor, preprocessing: Preprocessing) -> None:
        self.images, self.labels, self.preprocessing = images, labels, preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A whole batch at once, which the loader prefers to row by row."""
        pixels = self.images.pixels(np.array(rows), self.preprocessing.size, self.preprocessing.channels)
        return torch.from_numpy(pixels), self.labels[rows], torch.tensor(rows)


def _as_they_come(batch: Any) -> Any:  # noqa: ANN401  (the loader's type is a list, `__getitems__` gives a tuple)
    return batch


@dataclass
class Trainee:
    """What changes during training."""

    encoder: Encoder
    classification: nn.Module
    optimizer: torch.optim.Optimizer
    backward: BackwardLoss | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def make_optimizer(modules: Sequence[nn.Module], settings: TrainSettings) -> torch.optim.Optimizer:
    """The settings' optimiser over the weights of encoder, classifier and backward loss."""
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, lr=settings.peak, momentum=MOMENTUM, nesterov=True, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=settings.peak, weight_decay=settings.weight_decay)


def learning_rate(step: int, steps: int, peak: float, warm_up: float = 0.15) -> float:
    """One cycle: linear rise over the first `warm_up` of all steps, then half a cosine down to zero.

    >>> [round(learning_rate(step, 100, 1.0), 2) for step in (0, 15, 57, 99)]
    [0.06, 1.0, 0.51, 0.0]
    """
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def accelerator() -> Accelerator:
    """One device or several, as `accelerate launch` says; several share each batch."""
    return Accelerator(dataloader_config=DataLoaderConfiguration(split_batches=True))


def check_batch(size: int, processes: int) -> None:
    """Refuse a batch that cannot be split into equal shares of at least two images.

    Raises:
        SettingsError: too small, or no multiple of the number of processes.
    """
    if size % processes or size < 2 * processes:
        raise SettingsError(
            f"batch_size = {size} cannot be split over {processes} processes: "
            f"choose a multiple of {processes}, at least {2 * processes}"
        )


class Loop:
    """Epochs over one image set; each epoch's randomness depends on the seed and its number alone.

    On a GPU the encoders run in bfloat16, and the losses in float32. With several processes each takes its share of
    every batch: batch normalisation and the contrastive loss then see that share alone.
    """

    def __init__(
        self,
        trainee: Trainee,
        images: ImageSet,
        labels: torch.Tensor,
        preprocessing: Preprocessing,
        settings: TrainSettings,
        *,
        backward: Backward | None = None,
    ) -> None:
        self.trainee, self.settings, self.preprocessing, self.backward = trainee, settings, preprocessing, backward
        self.augmentation = AUGMENTATIONS[images.kind] if settings.augment else None
        self.turned = settings.turned if backward is not None and backward.turns > 1 else 0.0
        self.order = torch.Generator()
        self.draw = torch.Generator()
        self.accelerator = accelerator()
        self.loader = self._loader(PixelBatches(images, labels, preprocessing))
        self.encoder, self.optimizer = self.accelerator.prepare(trainee.encoder, trainee.optimizer)
        self.classification = self._prepare(trainee.classification)
        self.backward_loss = None if trainee.backward is None else self._prepare(trainee.backward)
        self.old = None if backward is None else backward.model.encoder.to(self.accelerator.device).eval()

    def _prepare(self, loss: nn.Module) -> Any:  # noqa: ANN401  (wrapped where several processes train its weights)
        """The loss on the device; one without weights needs no exchange between processes."""
        if any(parameter.requires_grad for parameter in loss.parameters()):
            return self.accelerator.prepare(loss)
        return loss.to(self.accelerator.device)

    def _loader(self, batches: PixelBatches) -> DataLoader[tuple[Any, Any, Any]]:
        """Shuffled batches; a last one of a single image is left out, batch normalisation cannot train on it."""
        size = self.settings.batch_size
        sampler = RandomSampler(batches, generator=self.order)
        single = len(batches) % size == 1
        loader = DataLoader(batches, size, sampler=sampler, collate_fn=_as_they_come, drop_last=single)
        prepared: DataLoader[tuple[Any, Any, Any]] = self.accelerator.prepare(loader)
        return prepared

    def run_epoch(self, epoch: int, progress: Progress = silent) -> dict[str, float]:
        """Train epoch `epoch` (from 0) and return its mean losses, over all processes, and its seconds."""
        began = time.perf_counter()
        seed = self.settings.seed * 10_007 + epoch
        own_seed = seed + self.accelerator.process_index * 1_000_003
        self.order.manual_seed(seed)
        self.draw.manual_seed(own_seed)
        with own_randomness(own_seed):
            sums = self._run_steps(epoch, progress)
        means = self.accelerator.reduce(sums / len(self.loader), reduction="mean")
        loss, classification, backward = means.tolist()
        record = {"epoch": epoch + 1, "loss": loss, "classification": classification, "backward": backward}
        record["seconds"] = time.perf_counter() - began
        self.trainee.history.append(record)
        return record

    def _run_steps(self, epoch: int, progress: Progress) -> torch.Tensor:
        """Sums of loss, classification and backward loss `(3,)` over the steps of an epoch."""
        self.encoder.train()
        sums = torch.zeros(3, device=self.accelerator.device)
        steps = len(self.loader)
        for step, batch in enumerate(self.loader):
            self._set_rate(epoch * steps + step)
            sums += self._step(*batch, done=(epoch * steps + step) / (self.settings.epochs * steps))
            progress(epoch * steps + step + 1, self.settings.epochs * steps)
        return sums

    def _set_rate(self, step: int) -> None:
        steps = self.settings.epochs * len(self.loader)
        rate = learning_rate(step, steps, self.settings.peak, self.settings.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _step(self, pixels: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, *, done: float) -> torch.Tensor:
        quarters = draw_quarters(len(labels), self.turned, self.draw).to(labels.device)
        unit = pixels.permute(0, 3, 1, 2).float() / 255
        if self.turned:
            unit = turn(unit, quarters)
        if self.augmentation is not None:
            unit = augment(unit, self.augmentation, self.draw)
        unit = unit.contiguous(memory_format=torch.channels_last)
        vectors = self._encode(self.encoder, self.preprocessing, unit)
        upright = quarters == 0 if self.turned else slice(None)
        classification = self.classification(vectors[upright], labels[upright])
        backward = vectors.new_zeros(())
        if self.backward is not None and self.backward_loss is not None:
            batch = Batch(
                new=vectors,
                labels=labels + self.backward.view.classes * quarters,
                old=self._old(self.backward, unit),
                rows=rows,
                classification=self.classification,
                classifier=classifier_of(self.trainee.classification, frozen=False),
                progress=done,
            )
            backward = self.backward_loss(batch)
        loss = classification + self.settings.weight * backward
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.optimizer.step()
        return torch.stack([loss, classification, backward]).detach()

    def _encode(self, encoder: nn.Module, preprocessing: Preprocessing, unit: torch.Tensor) -> torch.Tensor:
        """Vectors `(batch, dim)` float32."""
        kind = self.accelerator.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            vectors: torch.Tensor = encoder(preprocessing.normalise(unit))
        return vectors.float()

    def _old(self, backward: Backward, unit: torch.Tensor) -> torch.Tensor:
        """Old vectors `(batch, dim)` of the same pictures, or none for a loss that does not look at them."""
        if self.old is None or self.trainee.backward is None or not self.trainee.backward.needs_old:
            return unit.new_empty((0, backward.view.dim))
        preprocessing = backward.model.card.preprocessing
        with torch.no_grad():
            return self._encode(self.old, preprocessing, shown_to(preprocessing, unit))
