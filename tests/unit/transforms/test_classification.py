from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bict.errors import TransformError
from bict.transforms import Pairs
from bict.transforms.classification import FrozenClassifier


def pairs(labels: list[int] | None, prototypes: np.ndarray | None, views: int = 2) -> Pairs:
    rng = np.random.default_rng(0)
    sides = rng.normal(size=(2, views, 3, 2))
    return Pairs(*sides, None if labels is None else np.array(labels), prototypes)


def test_cross_entropy_of_the_plain_views_by_hand():
    classifier = FrozenClassifier(pairs([0, 1, 1], np.array([[2.0, 0], [0, 5]])), weight=0.5, scale=3)
    mapped = torch.tensor([[7.0, 0], [0, 1], [3, 4]])
    right, wrong = math.log(1 + math.exp(-3)), math.log(1 + math.exp(3 * (0.8 - 0.6)))
    assert classifier.loss(mapped, torch.tensor([0, 1, 2])).item() == pytest.approx(
        0.5 * (2 * right + math.log(1 + math.exp(3 * (0.6 - 0.8)))) / 3
    )
    assert classifier.loss(mapped[2:], torch.tensor([0])).item() == pytest.approx(0.5 * wrong)
    assert classifier.loss(mapped, torch.tensor([0, 4, 5])).item() == pytest.approx(0.5 * right)
    assert classifier.loss(mapped, torch.tensor([3, 4, 5])).item() == 0


@pytest.mark.parametrize("given", [(None, np.ones((2, 2))), ([0, 1, 1], None), (None, None)])
def test_without_labels_or_prototypes_there_is_none(given):
    with pytest.raises(TransformError, match="needs labels and prototypes"):
        FrozenClassifier(pairs(*given), weight=1, scale=1)
