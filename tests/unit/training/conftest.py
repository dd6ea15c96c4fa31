"""Small pictures that can be told apart, and models trained on them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from bict.data import ImageSet
from bict.data.images import ArrayPixels
from bict.models import Model
from bict.training import TrainSettings, train_model

SIDE = 16


@pytest.fixture(autouse=True)
def fresh_accelerator_state() -> Iterator[None]:
    """No test sees the process-wide state that another one's training left."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def patterns(classes: int, per_class: int, *, first: int = 0, side: int = SIDE, seed: int = 0) -> ImageSet:
    """Each class is a random 4x4 pattern, each image that pattern with grey noise of its own."""
    numbers = np.repeat(np.arange(first, first + classes), per_class)
    coarse = {number: np.random.default_rng(1000 + number).integers(0, 256, (4, 4)) for number in numbers}
    noise = np.random.default_rng([seed, first]).normal(0, 40, (len(numbers), side, side))
    clean = np.stack([np.kron(coarse[number], np.ones((side // 4, side // 4))) for number in numbers])
    names = np.array([f"c{number:02d}" for number in numbers])
    ids = np.array([f"{name}/{seed}-{row:03d}" for row, name in enumerate(names)])
    pixels = ArrayPixels(np.clip(clean + noise, 0, 255).astype(np.uint8))
    return ImageSet("patterns", "characters", ids, names, np.full(len(ids), ""), pixels)


def small_settings(**values: object) -> TrainSettings:
    """A small network and few steps, without augmentation."""
    small = {"backbone": "conv-small", "dim": 16, "epochs": 3, "batch_size": 32, "augment": False}
    return TrainSettings.model_validate({**small, "learning_rate": 3e-3, "scale": 16.0, **values})


@pytest.fixture(scope="session")
def draw_images() -> Callable[..., ImageSet]:
    return patterns


@pytest.fixture(scope="session")
def settings() -> Callable[..., TrainSettings]:
    return small_settings


@pytest.fixture(scope="session")
def images() -> ImageSet:
    """8 classes, 12 images each."""
    return patterns(8, 12)


@pytest.fixture(scope="session")
def old_model(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Knows the first 4 of the 8 classes."""
    out = tmp_path_factory.mktemp("models") / "old"
    return train_model(images.take(np.arange(48)), small_settings(epochs=6, seed=1), out)


@pytest.fixture(scope="session")
def new_model(images: ImageSet, old_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Knows all 8 classes, and is compatible with the old model."""
    out = tmp_path_factory.mktemp("models") / "new"
    return train_model(images, small_settings(epochs=16), out, compatible_with=old_model)


@pytest.fixture
def same_weights() -> Callable[[Model, Model], bool]:
    def same(one: Model, other: Model) -> bool:
        pairs = zip(one.encoder.state_dict().values(), other.encoder.state_dict().values(), strict=True)
        return all(torch.equal(*pair) for pair in pairs)

    return same


@pytest.fixture
def start_program(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a program in an interpreter of its own; `sys.argv[1]` is the path of this file, for its functions."""

    def start(text: str, *arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        file = tmp_path / "program.py"
        file.write_text(text)
        command = [sys.executable, *launcher, str(file), __file__, *map(str, arguments)]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)

    return start
