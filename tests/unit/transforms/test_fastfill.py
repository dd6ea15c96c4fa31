from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from bict.errors import SettingsError
from bict.transforms import FCT, FastFill, Pairs, Ridge
from bict.transforms.units import Units

QUICK = {"epochs": 30, "inner": 16, "batch": 64, "lr": 1e-2}


@pytest.fixture
def uneven() -> Pairs:
    """New vectors with noise that grows with the length of the first old component."""
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1, 1000, 4))
    noise = 0.05 + np.abs(old[..., :1])
    return Pairs(old, old @ rng.normal(size=(4, 6)) + noise * rng.normal(size=(1, 1000, 6)), np.arange(1000) % 50)


def test_variance_ranks_rows_with_more_noise_higher_on_rows_it_never_saw(uneven):
    held = uneven.labels >= 40
    rung, old = FastFill(**QUICK).fit(uneven.take(~held)), uneven.old[0, held]
    variance = rung.variance(old)
    assert variance.shape == (len(old),)
    assert variance.dtype == np.float32
    assert (variance > 0).all()
    assert spearmanr(variance, np.abs(old[:, 0])).statistic > 0.8
    errors = np.square(rung.transform(old) - uneven.new[0, held]).mean(1)
    worst = np.argsort(-variance)
    assert errors[worst[:60]].mean() > 3 * errors[worst[-60:]].mean()


def test_variance_is_the_expected_error_in_units_of_the_new_vectors(uneven):
    large = Pairs(uneven.old, 30 * uneven.new + 100, uneven.labels)
    rung = FastFill(**QUICK).fit(large)
    errors = np.square(rung.transform(large.old[0]) - large.new[0]).mean(1)
    unit = np.square(large.new - large.new.mean(axis=1)).mean()
    assert rung.variance(large.old[0]).mean() == pytest.approx(errors.mean() / unit, rel=0.3)


def test_loss_of_frozen_norms_is_the_likelihood_of_what_is_applied_plus_classification(uneven):
    prototypes = np.stack([uneven.new[0, uneven.labels == label].mean(0) for label in range(50)])
    views = Pairs(np.repeat(uneven.old, 2, 0), np.repeat(uneven.new, 2, 0), uneven.labels, prototypes)
    rung = FastFill(epochs=40, inner=8, batch=10_000, class_weight=0.3, scale=7.0).fit(views)
    unit = np.square(uneven.new - uneven.new.mean(axis=1)).mean()
    mapped, variance = rung.transform(uneven.old[0]).astype(float), rung.variance(uneven.old[0])
    terms = []
    for row, label in enumerate(uneven.labels):
        squared = np.square(mapped[row] - uneven.new[0, row]).mean() / unit
        logits = [7 * mapped[row] @ each / np.linalg.norm(mapped[row]) / np.linalg.norm(each) for each in prototypes]
        entropy = math.log(sum(map(math.exp, logits))) - logits[label]
        terms.append((squared / variance[row] + math.log(variance[row])) / 2 + 0.3 * entropy)
    assert rung.losses_[-1] == pytest.approx(np.mean(terms), rel=1e-3)


def test_classification_pulls_towards_prototypes_and_is_left_out_without_them(bent):
    pairs = bent()
    prototypes = np.stack([pairs.new[0, pairs.labels == label].mean(0) for label in range(40)])
    known = Pairs(pairs.old, pairs.new, pairs.labels, prototypes)

    def right(rung: FCT) -> float:
        mapped = rung.transform(pairs.old[0])
        cosines = mapped @ (prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)).T
        return float((cosines.argmax(1) == pairs.labels).mean())

    quick = {"epochs": 5, "inner": 16, "batch": 64, "lr": 5e-3}
    assert right(FastFill(class_weight=3.0, **quick).fit(known)) > right(FastFill(class_weight=0.0, **quick).fit(known))
    for there in (pairs, Pairs(pairs.old, pairs.new)):
        first, second = (FastFill(class_weight=weight, **quick).fit(there) for weight in (3.0, 0.0))
        assert first.losses_ == second.losses_


def test_still_learns_the_map(bent):
    pairs = bent()
    held = pairs.labels >= 30
    kept, judged = pairs.take(~held), pairs.take(held)
    errors = [
        np.square(rung.fit(kept).transform(judged.old[0]) - judged.new[0]).mean()
        for rung in (FastFill(**QUICK), Ridge())
    ]
    assert errors[0] < 0.5 * errors[1]


def test_log_variances_count_up_to_ten_either_way(uneven):
    error = FastFill()._error(uneven, Units.of(uneven.new[0]))
    new, off = torch.zeros(1, 6), torch.full((1, 6), 2.0)
    for given, counted in ((-1000.0, -10.0), (-3.0, -3.0), (1000.0, 10.0)):
        outputs = torch.cat([off, torch.tensor([[given]])], dim=1)
        expected = (4 / math.exp(counted) + counted) / 2
        assert error(outputs, new, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)
    rung = FastFill(epochs=1, inner=4).fit(uneven)
    far = rung.variance(1e6 * uneven.old[0])
    assert far.min() >= math.exp(-10) * 0.999
    assert far.max() <= math.exp(10) * 1.001


def test_a_weight_below_zero():
    with pytest.raises(SettingsError, match="class_weight of fastfill must be at least 0"):
        FastFill(class_weight=-0.1)
