from __future__ import annotations

import pytest
import torch

from bict.errors import UnknownName
from bict.models.pooling import POOLINGS, GeM, build_pooling


def test_generalised_mean_by_hand():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    pooled = build_pooling("gem")(maps)
    torch.testing.assert_close(pooled, torch.tensor([[((1 + 8 + 27 + 64) / 4) ** (1 / 3), 5.0]]))


def test_generalised_mean_lies_between_mean_and_maximum():
    maps = torch.rand(3, 8, 5, 4, generator=torch.Generator().manual_seed(0)) + 0.01
    mean, largest = maps.mean((2, 3)), maps.amax((2, 3))
    torch.testing.assert_close(GeM(1.0)(maps), mean)
    assert ((mean < GeM()(maps)) & (GeM()(maps) < GeM(30.0)(maps)) & (GeM(30.0)(maps) < largest)).all()


def test_generalised_mean_of_nothing_positive_is_small_and_differentiable():
    maps = torch.tensor([[[[0.0, -3.0]]]], requires_grad=True)
    pooled = GeM()(maps)
    pooled.sum().backward()
    assert 0 < float(pooled.detach()) < 1e-5
    assert torch.isfinite(maps.grad).all()


def test_average_is_the_mean_over_all_places():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])
    assert build_pooling("average")(maps).tolist() == [[0.5]]


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pooling_keeps_images_and_features_apart(name):
    maps = torch.rand(4, 6, 3, 2)
    pooled = build_pooling(name)(maps)
    assert pooled.shape == (4, 6)
    torch.testing.assert_close(build_pooling(name)(maps[2:3]), pooled[2:3])


def test_an_unknown_pooling_names_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown pooling 'gme': did you mean 'gem'\?"):
        build_pooling("gme")
