"""A frozen simplex as classifier, over a chain of models."""

from __future__ import annotations

import pytest
import torch

from bict.errors import SettingsError
from bict.losses import build_classification, classifier_of
from bict.losses.simplex import vertices


def rows(classes: int, dim: int, known: tuple[torch.Tensor, torch.Tensor] | None = None) -> torch.Tensor:
    return classifier_of(build_classification("simplex", classes, dim, scale=16.0, margin=0.0, known=known))


@pytest.mark.parametrize("dim", [1, 2, 5, 128, 1023])
def test_all_vertices_are_unit_rows_equally_far_from_each_other(dim):
    corners = vertices(dim).double()
    expected = torch.full((dim + 1, dim + 1), -1 / dim, dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(corners @ corners.T, expected, rtol=0, atol=1e-6)


def test_the_rows_are_vertices_frozen_and_the_same_in_every_model():
    loss = build_classification("simplex", 4, 5, scale=16.0, margin=0.0)
    assert not loss.W.requires_grad
    assert not list(filter(lambda weight: weight.requires_grad, loss.parameters()))
    torch.testing.assert_close(classifier_of(loss), vertices(5)[:4])
    assert torch.equal(rows(4, 5), rows(4, 5))


def test_only_new_classes_get_new_vertices_and_old_ones_keep_theirs():
    old = rows(4, 6)
    seen = torch.tensor([-1, 2, 0, -1, 3])  # the old model's class 1 is no class of the new one
    new = rows(5, 6, (seen, old))
    torch.testing.assert_close(new[[1, 2, 4]], old[[2, 0, 3]])
    torch.testing.assert_close(new[[0, 3]], vertices(6)[[4, 5]])
    assert (new @ old[1] < 0).all(), "nobody gets the vertex of a class that only the old model had"


def test_a_third_model_keeps_the_vertices_of_a_second():
    first = rows(2, 6)
    second = rows(4, 6, (torch.tensor([-1, 1, -1, 0]), first))
    third = rows(5, 6, (torch.tensor([3, 2, -1, 1, 0]), second))
    torch.testing.assert_close(third[[4, 3, 1, 0]], second)
    torch.testing.assert_close(third[3], first[1])


def test_as_many_classes_as_vertices_fit_and_one_more_is_refused():
    assert rows(6, 5).shape == (6, 5)
    with pytest.raises(SettingsError, match=r"^simplex in 5 dimensions has 6 vertices, .* --dim 6 or more") as info:
        rows(7, 5)
    assert "\n" not in str(info.value)
    with pytest.raises(SettingsError, match=r"6 vertices, 4 of them taken .*: 3 more are needed, .* --dim 6 or more"):
        rows(4, 5, (torch.tensor([0, -1, -1, -1]), rows(4, 5)))


def test_another_dimension_than_the_old_models_is_refused():
    with pytest.raises(SettingsError, match=r"^simplex keeps the old model's vertices, which have 5 .*--dim 5"):
        rows(4, 6, (torch.arange(4), rows(4, 5)))


def test_an_old_classifier_of_another_kind_is_refused(unit_rows):
    with pytest.raises(
        SettingsError, match=r"^simplex goes on from an old model that was trained with simplex"
    ) as info:
        rows(4, 5, (torch.arange(4), unit_rows(4, 5).float()))
    assert "\n" not in str(info.value)
