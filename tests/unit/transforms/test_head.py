from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bict.embeddings import normalise
from bict.errors import SettingsError, TransformError
from bict.transforms import Head, Pairs, Procrustes, fit_bridge
from bict.transforms.holdout import held_out_classes

QUICK = {"epochs": 8, "hidden": 32, "batch": 64}


def unit(rows: np.ndarray) -> np.ndarray:
    return normalise(rows.astype(np.float32))


@pytest.fixture
def disturbed() -> Pairs:
    """Taken vectors that hold their class in four components and noise in four; both go on into the target vectors."""
    rng = np.random.default_rng(0)
    classes = np.repeat(rng.normal(size=(60, 4)), 12, axis=0)
    taken = np.hstack([classes + 0.2 * rng.normal(size=classes.shape), 1.5 * rng.normal(size=classes.shape)])
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    target = taken @ turn + 0.2 * rng.normal(size=taken.shape)
    return Pairs(unit(taken)[None], unit(target)[None], np.repeat(np.arange(60), 12))


def slow_retrieval(query: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
    """Mean average precision by the definition, a query's own row left out."""
    precisions = []
    for row, mapped in enumerate(unit(query)):
        order = [other for other in np.argsort(-(unit(gallery) @ mapped), kind="stable") if other != row]
        right = [labels[other] == labels[row] for other in order]
        precisions.append(np.mean([sum(right[: at + 1]) / (at + 1) for at, hit in enumerate(right) if hit]))
    return float(np.mean(precisions))


def kept_and_judged(pairs: Pairs) -> tuple[Pairs, Pairs]:
    held = np.isin(pairs.labels, held_out_classes(pairs.labels, 0.2, seed=0))
    return pairs.take(~held), pairs.take(held)


def test_learns_from_labels_what_pairs_cannot_say_and_it_holds_for_classes_it_never_saw(disturbed):
    known, unseen = disturbed.take(disturbed.labels < 45), disturbed.take(disturbed.labels >= 45)
    scores = [
        slow_retrieval(rung.fit(known).transform(unseen.old[0]), unseen.new[0], unseen.labels)
        for rung in (Procrustes(), Head(lr=5e-3, **QUICK))
    ]
    assert scores[1] > scores[0] + 0.03


def test_keeps_the_epoch_that_was_best_on_held_out_classes_and_is_the_rotation_where_that_is_the_start(disturbed):
    rung = Head(lr=5e-3, **QUICK).fit(disturbed)
    assert len(rung.scores_) == QUICK["epochs"] + 1
    assert rung.epoch_ == np.argmax(rung.scores_) > 0
    assert len(rung.losses_) == QUICK["epochs"]
    astray = Pairs(disturbed.old, disturbed.new, np.random.default_rng(1).permutation(disturbed.labels))
    misled = Head(**QUICK, lr=1.0, align_weight=0.0).fit(astray)
    assert misled.epoch_ == 0
    mapped, rotated = (each.transform(disturbed.old[0]) for each in (misled, Procrustes().fit(disturbed)))
    np.testing.assert_allclose(mapped, rotated, atol=1e-5)
    assert not misled.weights_["out_weight"].any()


def test_score_of_the_start_is_that_of_the_rotation_of_the_other_classes(disturbed):
    kept, judged = kept_and_judged(disturbed)
    mapped = Procrustes().fit(kept).transform(judged.old[0])
    expected = slow_retrieval(mapped, judged.new[0], judged.labels)
    assert Head(epochs=0).fit(disturbed).scores_ == pytest.approx([expected], abs=1e-6)


def test_best_epoch_is_the_one_of_a_training_that_never_saw_the_held_out_classes(disturbed):
    """Whatever stands in the held-out classes' target vectors, the first training is the same: only scores change."""
    judged = kept_and_judged(disturbed)[1]
    other = disturbed.new.copy()
    other[0, np.isin(disturbed.labels, judged.labels)] = np.roll(judged.new[0], 7, axis=1)
    changed = Pairs(disturbed.old, other, disturbed.labels)
    trainings: list[list[float]] = []

    class Watched(Head):
        def _train(self, pairs, after, progress):
            trainings.append(super()._train(pairs, after, progress))
            return trainings[-1]

    for pairs in (disturbed, changed):
        Watched(**QUICK).fit(pairs)
    assert trainings[0] == trainings[2]
    assert trainings[1] != trainings[3]


def test_first_loss_against_a_slow_reference(disturbed):
    views = Pairs(np.repeat(disturbed.old, 2, 0), np.repeat(disturbed.new, 2, 0), 3 * disturbed.labels)
    weights = {"class_weight": 0.5, "influence_weight": 0.25, "align_weight": 2.0}
    rung = Head(epochs=1, batch=10_000, scale=9.0, influence_scale=5.0, **weights).fit(views)
    mapped = unit(Procrustes().fit(views).transform(disturbed.old[0])).astype(float)
    means = unit(np.stack([disturbed.new[0, disturbed.labels == label].mean(0) for label in range(60)])).astype(float)
    expected = []
    for row, label in enumerate(disturbed.labels):
        cosines = means @ mapped[row]
        own, influence = (math.log(np.exp(scale * cosines).sum()) - scale * cosines[label] for scale in (9.0, 5.0))
        expected.append(2 * (1 - mapped[row] @ disturbed.new[0, row]) + 0.5 * own + 0.25 * influence)
    assert rung.losses_[0] == pytest.approx(np.mean(expected), rel=1e-4)


def test_its_own_classifier_moves_and_the_means_do_not(disturbed):
    """With nothing but its own classification the loss falls below what frozen means allow."""
    settings = QUICK | {"lr": 1e-2, "align_weight": 0.0, "dropout": 0.0, "scale": 12.0}
    own = Head(class_weight=1.0, influence_weight=0.0, **settings).fit(disturbed)
    frozen = Head(class_weight=0.0, influence_weight=1.0, **settings).fit(disturbed)
    assert own.losses_[0] > 0
    assert own.losses_[-1] < 0.9 * frozen.losses_[-1]


def test_as_a_bridge_its_queries_find_more_than_those_of_the_rotation(disturbed, spaces):
    pairs = Pairs(disturbed.new, disturbed.old, disturbed.labels)
    bridge = fit_bridge(pairs.take(pairs.labels < 45), *reversed(spaces()), form="head", seed=1)
    assert bridge.rung.settings()["seed"] == 1
    unseen = pairs.take(pairs.labels >= 45)
    rotated = fit_bridge(pairs.take(pairs.labels < 45), *reversed(spaces()), form="procrustes")
    first, second = (
        slow_retrieval(each.rung.transform(unseen.new[0]), unseen.old[0], unseen.labels) for each in (rotated, bridge)
    )
    assert second > first


def test_labels_and_classes_it_needs(disturbed):
    with pytest.raises(TransformError, match=r"^head needs labels: pass them with the pairs, or take procrustes$"):
        Head().fit(Pairs(disturbed.old, disturbed.new))
    with pytest.raises(TransformError, match=r"^head needs 3 classes, 2 of them with 2 images, found 2 classes, 2 of"):
        Head().fit(disturbed.take(disturbed.labels < 2))
    with pytest.raises(TransformError, match="found 60 classes, 0 of them"):
        Head().fit(disturbed.take(np.arange(720) % 12 == 0))


def test_progress_counts_the_epochs_of_both_trainings(disturbed):
    told = []
    Head(epochs=2).fit(disturbed, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_random_numbers_come_from_the_seed_alone_and_torch_is_left_as_it_was(disturbed):
    state = torch.get_rng_state()
    with torch.inference_mode():
        first = Head(**QUICK).fit(disturbed).state()
        assert torch.is_inference_mode_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    second, other = Head(**QUICK).fit(disturbed).state(), Head(seed=1, **QUICK).fit(disturbed).state()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert (first["hidden_weight"] != other["hidden_weight"]).any()


@pytest.mark.parametrize(
    "setting", [{"hidden": 0}, {"epochs": -1}, {"batch": 0}, {"dropout": 1.0}, {"align_weight": -1}, {"lr": -1}]
)
def test_settings_out_of_range(setting):
    with pytest.raises(SettingsError, match=f"^{next(iter(setting))} of head must be"):
        Head(**setting)
