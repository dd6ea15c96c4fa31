"""The one training loop: classification plus weighted backward loss, on one device or several."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from bict.data.images import ImageSet
from bict.errors import SettingsError
from bict.losses import NEEDS_OLD_VECTORS, OldView, backward_loss
from bict.models import Encoder, Model, Preprocessing
from bict.progress import Progress, silent
from bict.training.augment import AUGMENTATIONS, augment
from bict.training.picture import shown_to
from bict.training.randomness import own_randomness
from bict.training.settings import TrainSettings
from bict.training.turned import draw_quarters, turn

WARM_UP = 0.15


class PixelBatches(Dataset[tuple[Any, Any]]):
    """Whole batches of an image set: pixels `(batch, size, size, channels)` uint8 and class indices `(batch,)`."""

    def __init__(self, images: ImageSet, labels: torch.Tensor, preprocessing: Preprocessing) -> None:
        self.images, self.labels, self.preprocessing = images, labels, preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole batch at once, which the loader prefers to row by row."""
        pixels = self.images.pixels(np.array(rows), self.preprocessing.size, self.preprocessing.channels)
        return torch.from_numpy(pixels), self.labels[rows]


def _as_they_come(batch: Any) -> Any:  # noqa: ANN401  (the loader's type is a list, `__getitems__` gives a tuple)
    return batch


@dataclass
class Trainee:
    """What changes during training."""

    encoder: Encoder
    classification: nn.Module
    optimizer: torch.optim.Optimizer
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Backward:
    """The frozen old model as a backward loss sees it.

    Attributes:
        model: the old model.
        prototypes: `(turns * classes, dim)` unit rows; those of classes turned by one quarter follow the upright ones.
        turns: numbers of quarter turns that have prototypes; 1 where pictures are not turned.
    """

    model: Model
    prototypes: torch.Tensor
    turns: int = 1


def make_optimizer(encoder: nn.Module, classification: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over encoder and classifier."""
    parameters = [*encoder.parameters(), *classification.parameters()]
    return torch.optim.AdamW(parameters, lr=settings.peak, weight_decay=settings.weight_decay)


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
        prepared = self.accelerator.prepare(trainee.encoder, trainee.classification, trainee.optimizer)
        self.encoder, self.classification, self.optimizer = prepared
        self.old = None if backward is None else backward.model.encoder.to(self.accelerator.device).eval()
        self.backward_loss = backward_loss(settings.backward_loss)

    def _loader(self, batches: PixelBatches) -> DataLoader[tuple[Any, Any]]:
        """Shuffled batches; a last one of a single image is left out, batch normalisation cannot train on it."""
        size = self.settings.batch_size
        sampler = RandomSampler(batches, generator=self.order)
        single = len(batches) % size == 1
        loader = DataLoader(batches, size, sampler=sampler, collate_fn=_as_they_come, drop_last=single)
        prepared: DataLoader[tuple[Any, Any]] = self.accelerator.prepare(loader)
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
        for step, (pixels, labels) in enumerate(self.loader):
            self._set_rate(epoch * steps + step)
            sums += self._step(pixels, labels)
            progress(epoch * steps + step + 1, self.settings.epochs * steps)
        return sums

    def _set_rate(self, step: int) -> None:
        rate = learning_rate(step, self.settings.epochs * len(self.loader), self.settings.peak)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _step(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        quarters = draw_quarters(len(labels), self.turned, self.draw).to(labels.device)
        unit = turn(pixels.permute(0, 3, 1, 2).float() / 255, quarters)
        if self.augmentation is not None:
            unit = augment(unit, self.augmentation, self.draw)
        unit = unit.contiguous(memory_format=torch.channels_last)
        vectors = self._encode(self.encoder, self.preprocessing, unit)
        upright = quarters == 0
        classification = self.classification(vectors[upright], labels[upright])
        backward = self._backward(vectors, labels, quarters, unit)
        loss = classification + self.settings.backward_weight * backward
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

    def _backward(
        self, vectors: torch.Tensor, labels: torch.Tensor, quarters: torch.Tensor, unit: torch.Tensor
    ) -> torch.Tensor:
        """The loss on all pictures; one turned by a quarter is of another class than the upright one."""
        if self.backward is None or self.old is None:
            return vectors.new_zeros(())
        classes = len(self.backward.prototypes) // self.backward.turns
        labels = labels + classes * quarters
        old = vectors.new_empty(0)
        if self.settings.backward_loss in NEEDS_OLD_VECTORS:
            preprocessing = self.backward.model.card.preprocessing
            with torch.no_grad():
                old = self._encode(self.old, preprocessing, shown_to(preprocessing, unit))
        view = OldView(old, self.backward.prototypes.to(vectors.device))
        return self.backward_loss(vectors, labels, view)
