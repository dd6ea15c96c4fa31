"""The one training loop: classification plus weighted backward loss, on one device or several."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from bict.data.images import ImageSet
from bict.losses import OldView, backward_loss
from bict.models import Model, Preprocessing
from bict.training.augment import AUGMENTATIONS, augment
from bict.training.settings import TrainSettings

WARM_UP = 0.15


class PixelBatches(Dataset[tuple[Any, Any]]):
    """Whole batches of an image set: pixels `(batch, size, size, channels)` uint8 and class indices `(batch,)`."""

    def __init__(self, images: ImageSet, labels: torch.Tensor, size: int) -> None:
        self.images, self.labels, self.size = images, labels, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole batch at once, which the loader prefers to row by row."""
        return torch.from_numpy(self.images.pixels(np.array(rows), self.size)), self.labels[rows]


def _as_they_come(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return batch


@dataclass
class Trainee:
    """What changes during training."""

    encoder: nn.Module
    classification: nn.Module
    optimizer: torch.optim.Optimizer
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Backward:
    """The frozen old model as a backward loss sees it."""

    model: Model
    prototypes: torch.Tensor


def make_optimizer(encoder: nn.Module, classification: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over encoder and classifier."""
    parameters = [*encoder.parameters(), *classification.parameters()]
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """One cycle: linear rise over the first 15 % of all steps, then half a cosine down to zero.

    >>> [round(learning_rate(step, 100, 1.0), 2) for step in (0, 15, 57, 99)]
    [0.06, 1.0, 0.51, 0.0]
    """
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def accelerator() -> Accelerator:
    """One device or several, as `accelerate launch` says; mixed precision on a GPU."""
    return Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")


class Loop:
    """Epochs over one image set; each epoch's randomness depends on the seed and its number alone."""

    def __init__(
        self,
        trainee: Trainee,
        images: ImageSet,
        labels: torch.Tensor,
        preprocessing: Preprocessing,
        settings: TrainSettings,
        backward: Backward | None = None,
    ) -> None:
        self.trainee, self.settings, self.preprocessing, self.backward = trainee, settings, preprocessing, backward
        self.augmentation = AUGMENTATIONS[images.kind] if settings.augment else None
        self.order = torch.Generator()
        self.draw = torch.Generator()
        self.accelerator = accelerator()
        batches = PixelBatches(images, labels, preprocessing.size)
        sampler = RandomSampler(batches, generator=self.order)
        loader = DataLoader(batches, settings.batch_size, sampler=sampler, collate_fn=_as_they_come)
        self.loader = self.accelerator.prepare(loader)
        prepared = self.accelerator.prepare(trainee.encoder, trainee.classification, trainee.optimizer)
        self.encoder, self.classification, self.optimizer = prepared
        self.old = None if backward is None else backward.model.encoder.to(self.accelerator.device).eval()
        self.backward_loss = backward_loss(settings.backward_loss)

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train epoch `epoch` (from 0) and return its mean losses and its seconds."""
        began = time.perf_counter()
        self.order.manual_seed(self.settings.seed * 10_007 + epoch)
        self.draw.manual_seed(self.settings.seed * 10_007 + epoch + self.accelerator.process_index * 1_000_003)
        self.encoder.train()
        sums = torch.zeros(3)
        for step, (pixels, labels) in enumerate(self.loader):
            self._set_rate(epoch, step)
            sums += self._step(pixels, labels)
        loss, classification, backward = (sums / max(1, len(self.loader))).tolist()
        record = {"epoch": epoch + 1, "loss": loss, "classification": classification, "backward": backward}
        record["seconds"] = time.perf_counter() - began
        self.trainee.history.append(record)
        return record

    def _set_rate(self, epoch: int, step: int) -> None:
        steps = len(self.loader)
        rate = learning_rate(epoch * steps + step, self.settings.epochs * steps, self.settings.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _step(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        unit = pixels.permute(0, 3, 1, 2).float() / 255
        if self.augmentation is not None:
            unit = augment(unit, self.augmentation, self.draw)
        unit = unit.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            vectors = self.encoder(self.preprocessing.normalise(unit)).float()
            classification = self.classification(vectors, labels)
            backward = self._backward(vectors, labels, unit)
        loss = classification + self.settings.backward_weight * backward
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.optimizer.step()
        return torch.stack([loss, classification, backward]).detach().cpu()

    def _backward(self, vectors: torch.Tensor, labels: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
        if self.backward is None or self.old is None:
            return vectors.new_zeros(())
        preprocessing = self.backward.model.card.preprocessing
        with torch.no_grad():
            resized = nn.functional.interpolate(unit, (preprocessing.size,) * 2, mode="bilinear", antialias=True)
            old = self.old(preprocessing.normalise(resized)).float()
        view = OldView(old, self.backward.prototypes.to(vectors.device), self.settings.scale)
        return self.backward_loss(vectors, labels, view)
