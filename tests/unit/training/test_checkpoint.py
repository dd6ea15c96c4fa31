"""A checkpoint brings everything back, or says in one line why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bict.data import ImageSet
from bict.errors import RunError
from bict.losses import build_classification
from bict.models import Encoder, default_preprocessing
from bict.training.checkpoint import FILE, load_checkpoint, save_checkpoint
from bict.training.loop import Loop, Trainee, make_optimizer


def fresh(settings, *, dim: int = 16, seed: int = 0) -> Trainee:
    torch.manual_seed(seed)
    encoder = Encoder("conv-small", "gem", dim, 1).to(memory_format=torch.channels_last)
    classification = build_classification("cosface", 8, dim, scale=16, margin=0.2)
    return Trainee(encoder, classification, make_optimizer([encoder, classification], settings()))


def train(trainee: Trainee, images: ImageSet, settings, epochs: int = 1) -> None:
    rows = torch.from_numpy(np.unique(images.labels, return_inverse=True)[1])
    loop = Loop(trainee, images, rows, default_preprocessing("conv-small", 1, 16), settings())
    for _ in range(epochs):
        loop.run_epoch(len(trainee.history))


@pytest.fixture
def trained(images: ImageSet, settings, tmp_path: Path) -> Trainee:
    trainee = fresh(settings)
    train(trainee, images, settings)
    save_checkpoint(tmp_path, trainee)
    return trainee


def test_weights_optimizer_and_history_come_back(trained, settings, tmp_path):
    other = fresh(settings, seed=1)
    load_checkpoint(tmp_path, other)
    for part in ("encoder", "classification"):
        before, after = getattr(trained, part).state_dict(), getattr(other, part).state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    before, after = trained.optimizer.state_dict(), other.optimizer.state_dict()
    assert before["state"].keys() == after["state"].keys() != set()
    for number, state in before["state"].items():
        assert state.keys() == after["state"][number].keys() >= {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(state[name], after["state"][number][name]) for name in state)
    assert other.history == trained.history
    assert len(other.history) == 1


def test_training_goes_on_as_if_it_had_not_stopped(trained, images, settings, tmp_path):
    other = fresh(settings, seed=1)
    load_checkpoint(tmp_path, other)
    train(trained, images, settings)
    train(other, images, settings)
    for one, two in zip(trained.encoder.parameters(), other.encoder.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


def test_it_is_one_safetensors_file(trained, tmp_path):
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert {name.split(".")[0] for name in load_file(tmp_path / FILE)} == {"encoder", "classification", "optimizer"}


def test_a_second_one_replaces_the_first(trained, images, settings, tmp_path):
    train(trained, images, settings)
    save_checkpoint(tmp_path, trained)
    other = fresh(settings)
    load_checkpoint(tmp_path, other)
    assert [record["epoch"] for record in other.history] == [1, 2]


def damage_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_by_emptying(path: Path) -> None:
    path.write_bytes(b"")


def damage_by_losing_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop("encoder.neck.weight")
    save_file(tensors, path, {"history": "[]"})


def damage_by_losing_the_history(path: Path) -> None:
    save_file(load_file(path), path)


def damage_by_another_history(path: Path) -> None:
    save_file(load_file(path), path, {"history": "3"})


def damage_by_a_strange_optimizer(path: Path) -> None:
    save_file({**load_file(path), "optimizer.first.step": torch.zeros(())}, path, {"history": "[]"})


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", [*DAMAGES, Path.unlink], ids=lambda damage: damage.__name__)
def test_a_damaged_one_is_refused_in_one_line_that_says_what_to_do(trained, settings, tmp_path, damage):
    damage(tmp_path / FILE)
    with pytest.raises(RunError, match=r"cannot be resumed \(.+\): delete .+ and train again") as info:
        load_checkpoint(tmp_path, fresh(settings))
    assert "\n" not in str(info.value)


def test_one_of_another_architecture_is_refused(trained, settings, tmp_path):
    with pytest.raises(RunError, match="cannot be resumed"):
        load_checkpoint(tmp_path, fresh(settings, dim=8))


def test_a_directory_that_went_away_is_named_in_one_line(trained, tmp_path):
    with pytest.raises(RunError, match=r"gone cannot be written \(.+\): free it, then go on with --resume") as info:
        save_checkpoint(tmp_path / "gone", trained)
    assert "\n" not in str(info.value)
