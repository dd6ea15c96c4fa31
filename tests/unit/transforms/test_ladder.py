from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from bict.errors import SettingsError, TransformError, UnknownName, VectorError
from bict.spaces import Space
from bict.transforms import RUNGS, Ladder, Pairs, Ridge, fit_ladder

QUICK = {"mlp": {"epochs": 40, "batch": 64, "hidden": 64, "lr": 3e-3}}


def unlabelled(pairs: Pairs) -> Pairs:
    return Pairs(pairs.old, pairs.new)


@pytest.fixture
def recorder(monkeypatch) -> list[Pairs]:
    """The pairs of every fit of the rung called "recorder"."""
    seen: list[Pairs] = []

    class Recorder(Ridge):
        name: ClassVar[str] = "recorder"

        def fit(self, pairs, **how):
            seen.append(pairs)
            return super().fit(pairs, **how)

    monkeypatch.setitem(RUNGS, "recorder", Recorder)
    return seen


def rows(pairs: Pairs) -> set[bytes]:
    return {row.tobytes() for row in pairs.flat()[0]}


def test_a_rotation_takes_the_simplest_rung_that_undoes_it(rotated, spaces):
    pairs = rotated()
    transform, ladder = fit_ladder(pairs, *spaces(), settings={"mlp": {"epochs": 10, "hidden": 16}})
    maps = {rung.name: rung.map for rung in ladder.rungs}
    assert ladder.chosen == transform.rung.name == "procrustes"
    assert maps["procrustes"] == max(maps.values())
    assert maps["identity"] < maps["procrustes"] - 0.1
    np.testing.assert_allclose(transform.rung.transform(pairs.old[0]), pairs.new[0], atol=1e-5)


def test_the_same_space_twice_takes_identity(rotated, spaces):
    pairs = rotated()
    same = Pairs(pairs.old, pairs.old, pairs.labels)
    assert fit_ladder(same, *spaces(), rungs=("identity", "procrustes"))[1].chosen == "identity"


def test_a_bent_relation_takes_a_rung_that_bends(bent, spaces):
    ladder = fit_ladder(bent(), *spaces(), settings=QUICK)[1]
    maps = {rung.name: rung.map for rung in ladder.rungs}
    assert ladder.chosen == "mlp"
    assert maps["mlp"] > 2 * max(maps[name] for name in ("identity", "procrustes", "ridge"))
    for rung in ladder.rungs:
        assert rung.map_interval[0] <= rung.map <= rung.map_interval[1]


@pytest.mark.parametrize("labelled", [True, False])
def test_judged_images_are_never_fitted_on_and_the_refit_uses_all(rotated, spaces, recorder, labelled):
    pairs = rotated(views=3)
    pairs = pairs if labelled else unlabelled(pairs)
    ladder = fit_ladder(pairs, *spaces(), rungs=("recorder",), held_out=0.25)[1]
    kept, refit = recorder
    assert rows(refit) == rows(pairs)
    assert rows(kept) < rows(pairs)
    missing = ~np.isin(
        np.arange(pairs.images), [at for at in range(pairs.images) if pairs.old[0, at].tobytes() in rows(kept)]
    )
    assert missing.sum() == ladder.held_out_images == 30
    assert not rows(pairs.take(missing)) & rows(kept)
    if labelled:
        assert not set(pairs.labels[missing]) & set(pairs.labels[~missing])
        assert ladder.held_out_classes == len(set(pairs.labels[missing])) == 3
    assert (ladder.pairs, ladder.views) == (120, 3)


def test_prototypes_of_held_out_classes_are_hidden_too(rotated, spaces, recorder):
    plain = rotated()
    prototypes = np.stack([plain.new[0, plain.labels == label].mean(0) for label in range(12)])
    pairs = Pairs(plain.old, plain.new, plain.labels, prototypes)
    ladder = fit_ladder(pairs, *spaces(), rungs=("recorder",))[1]
    kept, refit = recorder
    assert len(kept.prototypes) == 12 - ladder.held_out_classes
    np.testing.assert_array_equal(refit.prototypes, pairs.prototypes)
    for label in range(len(kept.prototypes)):
        np.testing.assert_allclose(kept.prototypes[label], kept.new[0, kept.labels == label].mean(0), atol=1e-6)


def test_map_equals_a_slow_reference(rotated, spaces, recorder):
    rng = np.random.default_rng(0)
    plain = rotated()
    pairs = Pairs(plain.old, Pairs(plain.new, plain.new + 0.5 * rng.normal(size=plain.new.shape)).new, plain.labels)
    old_space, new_space = spaces(normalised=False)
    ladder = fit_ladder(pairs, old_space, new_space, rungs=("recorder",))[1]
    kept, _ = recorder
    seen = {row.tobytes() for row in kept.old[0]}
    held = np.array([row.tobytes() not in seen for row in pairs.old[0]])
    upgraded = Ridge().fit(kept).transform(pairs.old[0, held])
    upgraded = upgraded / np.linalg.norm(upgraded, axis=1, keepdims=True)
    labels, precisions = pairs.labels[held], []
    for at, query in enumerate(pairs.new[0, held]):
        order = [row for row in np.argsort(-(upgraded @ query), kind="stable") if row != at]
        hits = np.flatnonzero(labels[order] == labels[at])
        precisions.append(np.mean([(found + 1) / (rank + 1) for found, rank in enumerate(hits)]))
    assert ladder.rungs[0].map == pytest.approx(np.mean(precisions), abs=1e-6)
    assert 0.2 < ladder.rungs[0].map < 0.99


def test_without_labels_the_measure_is_the_share_of_the_new_models_neighbours(rotated, spaces):
    ladder = fit_ladder(unlabelled(rotated()), *spaces(), rungs=("identity", "procrustes"))[1]
    scores = {rung.name: rung for rung in ladder.rungs}
    assert (ladder.measure, ladder.chosen, ladder.held_out_classes) == ("neighbour_recall", "procrustes", None)
    assert scores["procrustes"].neighbour_recall == pytest.approx(1, abs=0.02)
    assert scores["identity"].neighbour_recall < 0.8
    assert scores["identity"].map is None
    low, high = scores["identity"].neighbour_recall_interval
    assert low < scores["identity"].neighbour_recall < high


def test_other_dimensions_skip_identity_with_a_note(bent, spaces):
    pairs = bent(classes=8)
    wider = Pairs(pairs.old, np.concatenate([pairs.new, pairs.new], axis=2) / np.sqrt(2), pairs.labels)
    ladder = fit_ladder(wider, *spaces(8, 16), rungs=("identity", "ridge"))[1]
    assert ladder.chosen == "ridge"
    assert ladder.rungs[0].score is None
    assert "skipped: identity needs equal dimensions" in ladder.rungs[0].note
    with pytest.raises(TransformError, match="no rung could be fitted: identity skipped"):
        fit_ladder(wider, *spaces(8, 16), rungs=("identity",))


def test_queries_are_capped_and_the_gallery_is_not(rotated, spaces):
    ladder = fit_ladder(rotated(), *spaces(), rungs=("procrustes",), queries=5)[1]
    assert (ladder.queries, ladder.held_out_images) == (5, 20)


def test_the_same_seed_gives_the_same_transform_and_another_seed_another_split(rotated, spaces, recorder):
    ladders = [fit_ladder(rotated(), *spaces(), rungs=("recorder",), seed=seed) for seed in (3, 3, 4)]
    assert ladders[0][0].digest == ladders[1][0].digest
    assert rows(recorder[0]) == rows(recorder[2]) != rows(recorder[4])
    assert ladders[2][0].rung.settings()["seed"] == 4


def test_the_record_survives_json(rotated, spaces):
    ladder = fit_ladder(rotated(), *spaces(), rungs=("identity", "ridge"))[1]
    assert Ladder.model_validate_json(ladder.model_dump_json()) == ladder


def test_progress_only_grows_and_ends_at_the_end(rotated, spaces):
    told = []
    fit_ladder(
        rotated(),
        *spaces(),
        rungs=("ridge", "mlp"),
        settings={"mlp": {"epochs": 4}},
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == sorted(told)
    assert {total for _, total in told} == {300}
    assert told[-1] == (300, 300)
    assert (150, 300) in told


def test_dimensions_that_are_not_those_of_the_spaces(rotated, spaces):
    with pytest.raises(TransformError, match=r"old vectors have 8 dimensions, their space old \(9-d.*has 9"):
        fit_ladder(rotated(), *spaces(9, 8))
    with pytest.raises(TransformError, match="new vectors have 8 dimensions"):
        fit_ladder(rotated(), *spaces(8, 9))


def test_vectors_that_cannot_lie_in_their_space(rotated, spaces):
    pairs = rotated()
    with pytest.raises(VectorError, match="not of unit length"):
        fit_ladder(Pairs(pairs.old, 2 * pairs.new, pairs.labels), *spaces())


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"rungs": ("rigde",)}, UnknownName, "ridge"),
        ({"settings": {"mpl": {}}}, UnknownName, "mlp"),
        ({"settings": {"mlp": {"depth": 2}}}, UnknownName, "setting of mlp"),
        ({"rungs": ()}, SettingsError, "found 0 rungs"),
        ({"queries": 0}, SettingsError, "0 queries"),
        ({"held_out": 1.0}, SettingsError, "between 0 and 1"),
    ],
)
def test_settings_that_cannot_be_used(rotated, spaces, how, error, message):
    with pytest.raises(error, match=message):
        fit_ladder(rotated(), *spaces(), **how)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 0, 0], [0, 0, 1, 2, 3, 4], [0, 0, 0, 1, 1, 1]])
def test_too_few_classes(labels):
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.normal(size=(1, 6, 2)), rng.normal(size=(1, 6, 2)), np.array(labels))
    space = Space(name="s", fingerprint="a" * 16, dim=2, normalised=False)
    with pytest.raises(TransformError, match="2 classes with 2 images"):
        fit_ladder(pairs, space, space)


def test_too_few_images_without_labels():
    rng = np.random.default_rng(0)
    space = Space(name="s", fingerprint="a" * 16, dim=2, normalised=False)
    with pytest.raises(TransformError, match="3 held-out images, found 1"):
        fit_ladder(Pairs(rng.normal(size=(1, 6, 2)), rng.normal(size=(1, 6, 2))), space, space)
