"""A training checkpoint: one safetensors file, replaced in one step after each epoch."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bict.errors import RunError
from bict.training.loop import Trainee

FILE = "checkpoint.safetensors"


def save_checkpoint(directory: Path, trainee: Trainee) -> None:
    """Write weights, optimizer state and history by renaming a finished file.

    Raises:
        RunError: the directory cannot be written any more; the checkpoint before this one is kept.
    """
    tensors = {f"encoder.{name}": value for name, value in trainee.encoder.state_dict().items()}
    tensors |= {f"classification.{name}": value for name, value in trainee.classification.state_dict().items()}
    if trainee.backward is not None:
        tensors |= {f"backward.{name}": value for name, value in trainee.backward.state_dict().items()}
    for number, state in trainee.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    temporary = directory / f"{FILE}.part"
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    try:
        save_file(tensors, temporary, {"history": json.dumps(trainee.history)})
        temporary.replace(directory / FILE)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{directory} cannot be written ({_first_line(error)}): free it, then go on with --resume"
        ) from error


def load_checkpoint(directory: Path, trainee: Trainee) -> None:
    """Put a checkpoint's state into a fresh trainee of the same settings.

    Raises:
        RunError: the checkpoint is damaged or of another architecture.
    """
    path = directory / FILE
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            trainee.history[:] = json.loads(file.metadata()["history"])
        trainee.encoder.load_state_dict(_under("encoder", tensors))
        trainee.classification.load_state_dict(_under("classification", tensors))
        if trainee.backward is not None:
            trainee.backward.load_state_dict(_under("backward", tensors))
        _load_optimizer(trainee.optimizer, _under("optimizer", tensors))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} cannot be resumed ({_first_line(error)}): delete {directory} and train again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state = optimizer.state_dict()
    state["state"] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        state["state"].setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(state)
