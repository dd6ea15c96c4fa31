"""Old vectors in the classification loss, against replacing new ones by them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from bict.losses import OldView
from bict.losses.mixbct import MixBCT, credible


def test_the_credible_are_nine_tenths_of_each_class_closest_to_its_prototype(unit_rows):
    labels = torch.tensor([0] * 20 + [1] * 5 + [2])
    vectors, prototypes = unit_rows(26, 4), unit_rows(3, 4, seed=1)
    found = credible(OldView(vectors, labels, prototypes, classes=3))
    for number, kept in ((0, 18), (1, 5), (2, 1)):
        rows = [row for row in range(26) if labels[row] == number]
        ranked = sorted(rows, key=lambda row: -float(vectors[row] @ prototypes[number]))
        assert [row for row in rows if found[row]] == sorted(ranked[:kept])


def test_turned_pictures_are_not_asked(view):
    assert credible(view).shape == (12,)


def test_is_three_sevenths_of_the_classification_of_upright_credible_old_vectors(view, make_batch):
    loss, batch = MixBCT(view, 5), make_batch()
    loss.credible[batch.rows[4]] = False
    terms = []
    for i in (3, 5, 6, 7):
        logits = 4 * batch.classifier @ batch.old[i]
        terms.append(torch.logsumexp(logits, dim=0) - logits[batch.labels[i]])
    torch.testing.assert_close(loss(batch), 3 / 7 * torch.stack(terms).mean())


def test_has_the_gradient_of_replacing_three_in_ten_new_vectors_on_average(view, make_batch, unit_rows):
    """Of ten upright pictures three are replaced, in every possible way: .7 of classification + this loss."""
    rows, loss = torch.arange(10), MixBCT(view, 5)
    loss.credible[:] = True
    labels, new, old = view.labels[rows], unit_rows(10, 5, seed=3), view.vectors[rows]
    classifier = unit_rows(3, 5, seed=4).requires_grad_()

    def classification(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(4 * vectors @ classifier.T, labels)

    draws = list(itertools.combinations(range(10), 3))
    mixed = torch.stack([new.index_copy(0, torch.tensor(draw), old[list(draw)]) for draw in draws])
    paper = classification(mixed.flatten(0, 1), labels.repeat(len(draws)))
    batch = replace(make_batch(), new=new, labels=labels, old=old, rows=rows, classification=classification)
    ours = classification(new, labels) + loss(batch)
    torch.testing.assert_close(0.7 * ours, paper)
    (slope,) = torch.autograd.grad(ours, classifier)
    torch.testing.assert_close(0.7 * slope, *torch.autograd.grad(paper, classifier))


@pytest.mark.parametrize("new_dim", [7, 3])
def test_old_vectors_are_cut_or_padded_to_the_new_dimension(view, make_batch, new_dim):
    asked = []

    def classification(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.append(vectors)
        return vectors.sum()

    batch = replace(make_batch(new_dim), classification=classification)
    MixBCT(view, new_dim)(batch)
    kept = min(new_dim, 5)
    torch.testing.assert_close(asked[0].norm(dim=1), torch.ones(len(asked[0]), dtype=torch.float64))
    torch.testing.assert_close(
        functional.normalize(asked[0][:, :kept], dim=1), functional.normalize(batch.old[3:, :kept], dim=1)
    )


def test_is_zero_where_no_old_vector_is_credible(view, make_batch):
    loss = MixBCT(view, 5)
    loss.credible[:] = False
    assert loss(make_batch()).item() == 0
