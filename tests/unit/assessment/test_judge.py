from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.assessment.made import world

from bict.assessment.candidates import OLD, Rows
from bict.assessment.judge import Judge
from bict.assessment.relevance import RelevancePairs
from bict.embeddings import Embeddings
from bict.errors import DataError
from bict.evaluation import nearest


def everything(pairs):
    return Rows.of(pairs, np.arange(len(pairs.ids)))


def slow_precision(similarity, relevant):
    order = np.argsort(-similarity, kind="stable")
    hits = relevant[order].nonzero()[0]
    return np.mean([(number + 1) / (place + 1) for number, place in enumerate(hits)])


def slow_scores(query, gallery, relevant):
    """Average precision with each query's own row left out."""
    scores = []
    for vector, own, wanted in zip(query.vectors, query.ids, relevant, strict=True):
        others = gallery.ids != own
        scores.append(slow_precision(gallery.vectors[others] @ vector, wanted[others]))
    return np.array(scores)


def test_labels_say_what_is_relevant():
    rows = everything(world())
    judge = Judge.of(rows, None)
    relevant = rows.old.labels[:, None] == rows.old.labels[None]
    found = judge.score(*judge.sides.serve(OLD, None))
    np.testing.assert_allclose(found["map"], slow_scores(rows.old, rows.old, relevant), atol=1e-6)
    assert judge.measure == "labels"
    assert judge.bootstrap.weights.shape[1] == 30  # classes are drawn again, not queries


def test_without_labels_the_new_models_neighbours_are_relevant():
    rows = everything(world(labelled=False))
    judge = Judge.of(rows, None)
    near = nearest(rows.new, rows.new, 10)[0]
    relevant = np.zeros((len(rows), len(rows)), bool)
    np.put_along_axis(relevant, near, True, axis=1)
    found = judge.score(*judge.sides.serve(OLD, None))
    np.testing.assert_allclose(found["map"], slow_scores(rows.old, rows.old, relevant), atol=1e-6)
    assert judge.score(rows.new, rows.new)["map"] == pytest.approx(np.ones(len(rows)))
    assert judge.measure == "new model's neighbours"
    assert set(judge.groups) == {f"cluster {number}" for number in range(1, 11)}


def test_relevance_pairs_name_queries_and_what_they_find():
    rows = everything(world(labelled=False))
    pairs = RelevancePairs(np.array([3, 3, 5]), np.array([4, 9, 200]))
    judge = Judge.of(rows, None, pairs=pairs)
    assert judge.sides.query.old.ids.tolist() == [3, 5]
    relevant = np.zeros((2, len(rows)), bool)
    relevant[[0, 0, 1], [4, 9, 200]] = True
    found = judge.score(*judge.sides.serve(OLD, None))
    np.testing.assert_allclose(
        found["map"], slow_scores(rows.old.take(np.array([3, 5])), rows.old, relevant), atol=1e-6
    )


def test_a_split_sets_queries_and_gallery_apart():
    rows = everything(world())
    split = np.where(np.arange(len(rows)) % 8 == 0, "query", "gallery")
    judge = Judge.of(rows, split)
    assert set(judge.sides.query.old.ids % 8) == {0}
    assert not set(judge.sides.query.old.ids) & set(judge.sides.gallery.old.ids)


def test_most_queries_are_drawn_of_those_that_have_something_to_find():
    pairs = world(classes=30)
    labels = pairs.labels.copy()
    labels[:50] = [f"alone {number}" for number in range(50)]
    judge = Judge.of(everything(replace(pairs, labels=labels)), None, most_queries=40)
    assert len(judge.sides.query) == 40
    assert len(judge.sides.gallery) == len(pairs.ids)
    assert judge.sides.query.old.ids.min() >= 50


def test_queries_that_nothing_answers_are_never_drawn():
    pairs = world(classes=30)
    labels = pairs.labels.copy()
    split = np.where(np.arange(240) % 8 < 4, "query", "gallery")
    labels[(split == "query") & (np.arange(240) < 200)] = "nowhere"
    judge = Judge.of(everything(replace(pairs, labels=labels)), split, most_queries=10)
    assert len(judge.sides.query) == 10
    assert judge.sides.query.old.ids.min() >= 200


def test_labels_that_never_repeat_are_none():
    pairs = world()
    judge = Judge.of(everything(replace(pairs, labels=pairs.ids.astype(str))), None)
    assert judge.measure == "new model's neighbours"


def test_a_new_model_that_puts_all_items_in_one_place_says_nothing():
    pairs = world(labelled=False)
    flat = np.ones_like(pairs.new) / np.sqrt(pairs.new.shape[1])
    with pytest.raises(DataError, match="all alike"):
        Judge.of(everything(replace(pairs, new=flat)), None)


def test_the_worst_group_is_the_one_that_loses_most():
    judge = Judge.of(everything(world()), None)
    change = np.zeros(len(judge.groups))
    change[judge.groups == "class 7"] = -0.5
    change[np.flatnonzero(judge.groups == "class 9")[:2]] = -0.9  # a mean of -.225 over its 8 queries
    assert judge.worst_group(change) == ("class 7", -0.5)
    name, mean = judge.worst_group(np.full(len(change), np.nan))
    assert name == ""
    assert np.isnan(mean)


def test_the_score_gap_is_none_to_itself_and_large_to_a_shifted_system():
    judge = Judge.of(everything(world()), None)
    query, gallery = judge.sides.query.old, judge.sides.gallery.old
    assert judge.gap(query, gallery, seed=0) == 0
    moved = Embeddings(gallery.ids, np.roll(gallery.vectors, 1, axis=1) + 1, _long(gallery), gallery.labels)
    asked = Embeddings(query.ids, np.roll(query.vectors, 1, axis=1) + 1, _long(query), query.labels)
    assert judge.gap(asked, moved, seed=0) > 0.9


def _long(side):
    return side.space.model_copy(update={"normalised": False})
