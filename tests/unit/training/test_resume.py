"""Stopped trainings: by Ctrl-C, by a kill, by a damaged checkpoint."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import torch

from bict.errors import RunError
from bict.training import train_model
from bict.training.checkpoint import FILE
from bict.training.train import HISTORY

SLOWLY = """
import runpy, sys, time
from pathlib import Path
from bict.training import train_model

here = runpy.run_path(sys.argv[1])
settings = here["small_settings"](epochs=4, augment=True)
train_model(here["patterns"](8, 12), settings, Path(sys.argv[2]), progress=lambda *_: time.sleep(0.1))
"""


class StopAt:
    """Progress that is interrupted at a step, as by Ctrl-C."""

    def __init__(self, step: int) -> None:
        self.step, self.steps = step, []

    def __call__(self, done: int, total: int) -> None:
        self.steps.append(done)
        if done == self.step:
            raise KeyboardInterrupt


def close(one, other) -> bool:
    pairs = zip(one.encoder.state_dict().values(), other.encoder.state_dict().values(), strict=True)
    return all(torch.allclose(a.double(), b.double(), rtol=0, atol=1e-4) for a, b in pairs)


@pytest.fixture
def stopped(images, settings, old_model, tmp_path) -> Path:
    """A training of 3 epochs of 3 steps, interrupted in its third epoch."""
    with pytest.raises(KeyboardInterrupt):
        train_model(images, settings(augment=True), tmp_path / "m", compatible_with=old_model, progress=StopAt(8))
    return tmp_path / "m"


def test_ctrl_c_leaves_a_state_that_ends_where_the_uninterrupted_run_ends(
    stopped, images, settings, old_model, tmp_path
):
    assert {path.name for path in stopped.iterdir()} == {"settings.json", FILE}
    progress = StopAt(-1)
    resumed = train_model(
        images, settings(augment=True), stopped, compatible_with=old_model, resume=True, progress=progress
    )
    assert progress.steps == [7, 8, 9]  # the finished epochs are not trained again
    whole = train_model(images, settings(augment=True), tmp_path / "whole", compatible_with=old_model)
    assert close(resumed, whole)
    assert [record["epoch"] for record in json.loads((stopped / HISTORY).read_text())] == [1, 2, 3]
    assert not (stopped / FILE).exists()


def test_an_unfinished_training_is_not_overwritten(stopped, images, settings, old_model):
    before = (stopped / FILE).read_bytes()
    with pytest.raises(RunError, match="holds an unfinished training: add --resume to go on") as info:
        train_model(images, settings(augment=True), stopped, compatible_with=old_model)
    assert "\n" not in str(info.value)
    assert (stopped / FILE).read_bytes() == before


def test_an_unfinished_training_is_not_resumed_with_other_settings(stopped, images, settings, old_model):
    with pytest.raises(RunError, match=r"settings\.learning_rate = 0\.003, not 0\.1"):
        train_model(images, settings(augment=True, learning_rate=0.1), stopped, compatible_with=old_model, resume=True)


def test_a_damaged_checkpoint_is_refused_in_one_line(stopped, images, settings, old_model):
    (stopped / FILE).write_bytes(b"\x00" * 50)
    with pytest.raises(RunError, match=r"checkpoint\.safetensors cannot be resumed .*: delete .*") as info:
        train_model(images, settings(augment=True), stopped, compatible_with=old_model, resume=True)
    assert "\n" not in str(info.value)


def test_one_stopped_in_its_first_epoch_starts_again_with_and_without_resume(images, settings, tmp_path):
    for resume in (True, False):
        out = tmp_path / f"{resume}"
        with pytest.raises(KeyboardInterrupt):
            train_model(images, settings(), out, progress=StopAt(2))
        assert {path.name for path in out.iterdir()} == {"settings.json"}
        progress = StopAt(-1)
        train_model(images, settings(), out, resume=resume, progress=progress)
        assert progress.steps == list(range(1, 10))


def test_resume_in_an_empty_directory_just_trains(images, settings, tmp_path):
    model = train_model(images, settings(epochs=1), tmp_path, resume=True)
    assert model.space.dim == 16


def test_a_killed_training_goes_on_and_ends_like_an_uninterrupted_one(start_program, draw_images, settings, tmp_path):
    out = tmp_path / "m"
    process = start_program(SLOWLY, out)
    deadline = time.monotonic() + 120
    while not (out / FILE).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert (out / FILE).exists()
    assert not (out / "model.json").exists()
    images, same = draw_images(8, 12), settings(epochs=4, augment=True)
    resumed = train_model(images, same, out, resume=True)
    assert len(json.loads((out / HISTORY).read_text())) == 4
    assert close(resumed, train_model(images, same, tmp_path / "whole"))
