"""The old model's view, and vectors of two dimensions side by side."""

from __future__ import annotations

import torch

from bict.losses import fit_dim

ROWS = torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])


def test_more_dimensions_are_zeros_at_the_end():
    expected = torch.tensor([[0.6, 0.0, 0.8, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(fit_dim(ROWS, 5), expected)


def test_fewer_dimensions_are_the_first_ones_at_unit_length_again():
    torch.testing.assert_close(fit_dim(ROWS, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


def test_the_same_dimension_changes_nothing():
    assert fit_dim(ROWS, 3) is ROWS


def test_members_are_the_pictures_of_each_class_in_class_order(view):
    members = view.members()
    assert len(members) == 6
    for number, rows in enumerate(members):
        assert rows.tolist() == [row for row, label in enumerate(view.labels.tolist()) if label == number]


def test_cosines_are_those_to_the_own_prototype(view):
    for row, cosine in enumerate(view.cosines().tolist()):
        own = view.prototypes[view.labels[row]]
        assert abs(cosine - float(view.vectors[row] @ own)) < 1e-12


def test_upright_pictures_are_of_the_classifiers_classes(make_batch):
    assert make_batch().upright(3).tolist() == [False] * 3 + [True] * 5
