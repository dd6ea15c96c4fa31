"""The loop: its batches, its learning rate, and what one epoch does."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from bict.data import ImageSet
from bict.errors import SettingsError
from bict.losses import OldView, build_backward_loss, build_classification
from bict.models import Encoder, Preprocessing, default_preprocessing, make_model
from bict.training import loop as module
from bict.training.backward import Backward
from bict.training.loop import Loop, PixelBatches, Trainee, check_batch, learning_rate, make_optimizer

SHAPE: Preprocessing = default_preprocessing("conv-small", 1, 16)


def labels_of(images: ImageSet) -> torch.Tensor:
    return torch.from_numpy(np.unique(images.labels, return_inverse=True)[1])


def make_loop(images: ImageSet, settings, backward: Backward | None = None, **values: object) -> Loop:
    torch.manual_seed(0)
    encoder, classes = Encoder("conv-small", "gem", 16, 1), len(np.unique(images.labels))
    classification = build_classification("cosface", classes, 16, scale=16, margin=0.2)
    trainee = Trainee(encoder, classification, make_optimizer([encoder, classification], settings(**values)))
    if backward is not None:
        trainee.backward = build_backward_loss(settings(**values).backward_loss, backward.view, 16)
    return Loop(trainee, images, labels_of(images), SHAPE, settings(**values), backward=backward)


def test_the_example_of_the_learning_rate_holds():
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted >= 1


@given(st.integers(1, 400), st.floats(1e-5, 1.0))
def test_the_learning_rate_rises_to_its_peak_once_and_falls_towards_zero(steps, peak):
    rates = [learning_rate(step, steps, peak) for step in range(steps)]
    top = int(np.argmax(rates))
    assert all(0 < rate <= peak for rate in rates)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if steps >= 20:
        assert rates[top] == pytest.approx(peak)
        assert top == round(0.15 * steps)
        assert rates[-1] < 0.02 * peak


def test_a_batch_is_read_at_once_with_its_labels(images):
    batches = PixelBatches(images, labels_of(images), SHAPE)
    pixels, labels, rows = batches.__getitems__([95, 0, 13])
    assert len(batches) == 96
    assert pixels.dtype == torch.uint8
    np.testing.assert_array_equal(pixels, images.pixels(np.array([95, 0, 13]), 16, 1))
    assert (labels.tolist(), rows.tolist()) == ([7, 0, 1], [95, 0, 13])


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [(96, 32, [32, 32, 32]), (95, 32, [32, 32, 31]), (65, 32, [32, 32]), (96, 500, [96]), (13, 2, [2] * 6)],
)
def test_a_last_batch_may_be_smaller_but_never_a_single_image(images, settings, count, batch_size, sizes):
    loop = make_loop(images.take(np.arange(count)), settings, batch_size=batch_size)
    assert [len(labels) for _, labels, _ in loop.loader] == sizes
    assert len(loop.loader) == len(sizes)


def test_each_epoch_has_an_order_of_its_own_and_every_image_once(images, settings):
    loop = make_loop(images, settings)
    seen: list[list[int]] = []
    read = loop.loader.dataset.images.source.read
    numbers = {read(np.array([row]), 16, 1).tobytes(): row for row in range(96)}
    for epoch in (0, 1, 0):
        loop.order.manual_seed(epoch)
        seen.append([numbers[one.numpy().tobytes()] for pixels, *_ in loop.loader for one in pixels])
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(96))
    assert seen[0] == seen[2] != seen[1]


def test_an_epoch_records_its_mean_losses_and_seconds(images, settings):
    loop = make_loop(images, settings, learning_rate=1e-9)
    calls: list[tuple[int, int]] = []
    record = loop.run_epoch(0, lambda *call: calls.append(call))
    assert record == loop.trainee.history[0]
    assert record["epoch"] == 1
    assert record["backward"] == 0
    assert record["loss"] == record["classification"] > 0
    assert record["seconds"] > 0
    assert calls == [(1, 9), (2, 9), (3, 9)]


def test_the_mean_loss_is_that_of_the_batches(images, settings):
    """One batch of all images has one loss, whatever its order."""
    loop = make_loop(images, settings, learning_rate=1e-12, batch_size=96)
    pixels = torch.from_numpy(images.pixels(np.arange(96), 16, 1)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = loop.trainee.classification(loop.trainee.encoder.train()(pixels), labels_of(images))
    assert loop.run_epoch(0)["loss"] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("size", [8, 24])
def test_the_old_model_sees_the_picture_at_its_own_size(images, settings, size):
    torch.manual_seed(1)
    encoder, preprocessing = Encoder("conv-small", "gem", 16, 1), default_preprocessing("conv-small", 1, size)
    options = {"name": "old", "backbone": "conv-small", "pooling": "gem", "neck_dim": 16}
    view = OldView(torch.eye(8, 16), torch.arange(8), torch.eye(8, 16), 8)
    old = Backward(make_model(encoder, preprocessing=preprocessing, **options), view)
    loop = make_loop(images, settings, old, learning_rate=1e-12, batch_size=96, backward_loss="regression")
    picture = torch.from_numpy(images.pixels(np.arange(96), 16, 1)).permute(0, 3, 1, 2) / 255
    resized = functional.interpolate(picture, (size, size), mode="bilinear", antialias=True)
    with torch.no_grad():
        distance = (loop.trainee.encoder.train()(picture) - encoder.eval()(resized)).square().sum(dim=1).mean()
    assert loop.run_epoch(0)["backward"] == pytest.approx(distance.item(), rel=1e-4)


def test_an_epoch_leaves_torchs_own_randomness_alone(images, settings):
    loop = make_loop(images, settings, augment=True)
    before = torch.random.get_rng_state()
    loop.run_epoch(0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_last_rate_is_set_on_the_optimizer(images, settings):
    loop = make_loop(images, settings)
    for epoch in range(3):
        loop.run_epoch(epoch)
    assert loop.trainee.optimizer.param_groups[0]["lr"] == learning_rate(8, 9, 3e-3)


@pytest.mark.parametrize(("size", "processes"), [(32, 1), (2, 1), (32, 4), (4, 2)])
def test_a_batch_that_can_be_split_is_accepted(size, processes):
    check_batch(size, processes)


@pytest.mark.parametrize(("size", "processes"), [(33, 2), (2, 2), (1, 1)])
def test_a_batch_that_cannot_be_split_is_refused(size, processes):
    with pytest.raises(SettingsError, match=f"batch_size = {size} cannot be split over {processes} processes"):
        check_batch(size, processes)


def test_an_accelerator_of_the_caller_is_no_obstacle(images, settings):
    AcceleratorState._reset_state(reset_partial_state=True)
    Accelerator(mixed_precision="bf16", cpu=True)
    assert np.isfinite(make_loop(images, settings).run_epoch(0)["loss"])


def test_two_loops_of_other_settings_work_in_one_process(images, settings):
    for values in ({"batch_size": 32}, {"batch_size": 16, "augment": True}):
        assert np.isfinite(make_loop(images, settings, **values).run_epoch(0)["loss"])
    assert PartialState().num_processes == 1
