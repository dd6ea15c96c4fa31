from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from bict.assessment import confidence
from bict.assessment.confidence import DRAWS, RATIOS, ErrorModel, confidence_curve, upgrade_error
from bict.embeddings import Embeddings, normalise
from bict.errors import DataError, RunError, SettingsError, SpaceError, VectorError
from bict.spaces import Space

OLD = Space(name="old", fingerprint="a" * 16, dim=6)
NEW = Space(name="new", fingerprint="b" * 16, dim=10)


def side(vectors, space, first=0):
    return Embeddings(np.arange(first, first + len(vectors)), normalise(np.asarray(vectors, np.float32)), space)


def off_by(old, error, space=NEW):
    """New vectors, and psi of the old ones at 1 - cosine of `error` from them, `(rows,)`."""
    rng = np.random.default_rng(len(old))
    new = normalise(rng.normal(size=(len(old), space.dim)).astype(np.float32)).astype(float)
    away = rng.normal(size=new.shape)
    away -= (away * new).sum(1, keepdims=True) * new
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    cosine = 1 - np.asarray(error)[:, None]
    first = int(old.ids[0])
    return side(cosine * new + np.sqrt(1 - cosine**2) * away, space, first), side(new, space, first)


def old_vectors(rows, seed, first=0, scale=(3, 2, 1, 0.5, 0.2, 0.1)):
    return side(np.random.default_rng(seed).normal(size=(rows, 6)) * scale, OLD, first)


@pytest.fixture
def fitted():
    return old_vectors(60, 1)


@pytest.fixture
def model(fitted):
    old = old_vectors(80, 2, 100)
    return ErrorModel(seed=4).fit(fitted, old, *off_by(old, 0.1 + 0.05 * old.vectors[:, 1]))


def slow_features(fitted, old, neighbours, directions):
    """Log of the mean distance to the nearest fitted vectors but the item's own, and coordinates by SVD."""
    reference, rows = fitted.vectors.astype(float), old.vectors.astype(float)
    distances = [sorted(d for each in reference if (d := np.linalg.norm(row - each)) > 1e-6) for row in rows]
    principal = np.linalg.svd(reference - reference.mean(0))[2][:directions]
    return np.column_stack([[math.log(np.mean(row[:neighbours])) for row in distances], rows @ principal.T])


def test_equal_to_scikit_learn_on_features_computed_one_by_one(fitted, monkeypatch):
    monkeypatch.setattr(confidence, "CHUNK", 7)
    monkeypatch.setattr(confidence, "STEPS", 200)
    old = old_vectors(50, 2, 100)
    upgraded, new = off_by(old, np.random.default_rng(0).uniform(0.05, 0.6, 50))
    found = ErrorModel(neighbours=3, directions=4, penalty=0.2).fit(fitted, old, upgraded, new)
    scaler = StandardScaler()
    features = scaler.fit_transform(slow_features(fitted, old, 3, 4))
    reference = Ridge(alpha=0.2 * 50).fit(features, np.log(upgrade_error(upgraded, new)))
    for others in (old_vectors(30, 3, 500), fitted):  # of the fitted vectors each is its own nearest
        expected = reference.predict(scaler.transform(slow_features(fitted, others, 3, 4)))
        np.testing.assert_allclose(np.log(found.predict(others)), expected, atol=1e-4)


def test_ranks_rows_it_never_saw_by_a_direction_of_the_old_vector(fitted):
    old, others = old_vectors(150, 2, 100), old_vectors(150, 3, 500)
    model = ErrorModel().fit(fitted, old, *off_by(old, 0.3 + 0.25 * old.vectors[:, 1]))
    assert spearmanr(model.predict(others), others.vectors[:, 1]).statistic > 0.9
    assert model.predict(others).mean() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("sign", [1, -1])
def test_ranks_rows_by_their_distance_to_the_fitted_ones_of_either_sign(sign):
    # fitted vectors in one corner; the others lie at all distances of it, in all directions
    corner = side(np.random.default_rng(0).normal(size=(100, 6)) * 0.1 + [3, 0, 0, 0, 0, 0], OLD)
    old, others = (old_vectors(300, seed, first, scale=1) for seed, first in ((2, 200), (3, 900)))
    true, unseen = (np.square(each.vectors - normalise(corner.vectors[:1])).sum(1) for each in (old, others))
    model = ErrorModel(directions=1).fit(corner, old, *off_by(old, np.exp(sign * true) / 40))
    assert spearmanr(model.predict(others), sign * unseen).statistic > 0.9


def test_errors_that_are_all_equal_are_predicted_so(fitted):
    old = old_vectors(40, 2, 100)
    upgraded, new = off_by(old, np.full(40, 0.2))
    found = ErrorModel().fit(fitted, old, upgraded, new).predict(old_vectors(20, 3, 500))
    np.testing.assert_allclose(found, 0.2, rtol=1e-4)
    exact = ErrorModel().fit(fitted, old, new, new).predict(old)
    assert (exact < 2e-6).all()


def test_predictions_stay_in_range_however_far_a_vector_lies(fitted):
    old = old_vectors(40, 2, 100)
    model = ErrorModel(penalty=1e-6).fit(fitted, old, *off_by(old, np.where(old.vectors[:, 0] > 0, 1.9, 1e-5)))
    found = model.predict(old_vectors(200, 3, 500, scale=(100, 1, 1, 1, 1, 1)))
    assert ((found > 0) & (found <= 2)).all()
    assert found.max() == pytest.approx(2)


def test_length_of_the_old_vectors_does_not_count(fitted):
    loose = OLD.model_copy(update={"normalised": False})

    def stretched(embeddings):
        lengths = np.random.default_rng(9).uniform(0.1, 10, (len(embeddings), 1)).astype(np.float32)
        return Embeddings(embeddings.ids, embeddings.vectors * lengths, loose)

    old, others = old_vectors(80, 2, 100), old_vectors(30, 3, 500)
    sides = off_by(old, 0.3 + 0.2 * old.vectors[:, 1])
    plain = ErrorModel().fit(fitted, old, *sides).predict(others)
    long = ErrorModel().fit(stretched(fitted), stretched(old), *sides).predict(stretched(others))
    np.testing.assert_allclose(long, plain, rtol=1e-4)


def test_few_references_are_kept_and_few_are_enough():
    many = old_vectors(500, 1)
    old, others = old_vectors(80, 2, 1000), old_vectors(80, 3, 2000)
    sides = off_by(old, 0.3 + 0.25 * old.vectors[:, 1])
    few, same, all_ = (ErrorModel(references=n).fit(many, old, *sides) for n in (3, 3, 1000))
    assert few.references_.shape == (3, 6)
    assert all_.references_.shape == (500, 6)
    np.testing.assert_array_equal(few.predict(others), same.predict(others))
    assert np.isfinite(few.predict(others)).all()


def test_no_rows_no_predictions(model):
    assert model.predict(Embeddings(np.arange(0), np.zeros((0, 6), np.float32), OLD)).shape == (0,)


def test_spaces_and_items_must_agree(fitted, model):
    old = old_vectors(10, 2, 100)
    upgraded, new = off_by(old, np.full(10, 0.2))
    other = OLD.model_copy(update={"fingerprint": "c" * 16})
    strange = Embeddings(old.ids, old.vectors, other)
    with pytest.raises(SpaceError, match="this error model predicts for old vectors"):
        model.predict(strange)
    with pytest.raises(SpaceError, match="fitted old vectors"):
        ErrorModel().fit(fitted, strange, upgraded, new)
    with pytest.raises(SpaceError, match="upgraded vectors"):
        ErrorModel().fit(fitted, old, old, new)
    with pytest.raises(VectorError, match="held-out old and upgraded vectors"):
        ErrorModel().fit(fitted, old, side(upgraded.vectors, NEW, 7), new)


def test_too_little_to_learn_from(fitted):
    old = old_vectors(2, 2, 100)
    sides = off_by(old, np.array([0.1, 0.3]))
    assert np.isfinite(ErrorModel().fit(fitted, old, *sides).predict(fitted)).all()
    one = np.arange(1)
    with pytest.raises(DataError, match=r"^found 60 fitted vectors and 1 held-out pairs, expected"):
        ErrorModel().fit(fitted, old.take(one), *(each.take(one) for each in sides))


@pytest.mark.parametrize(
    "settings", [{"neighbours": 0}, {"references": 0}, {"directions": 0}, {"penalty": 0.0}, {"penalty": math.nan}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SettingsError, match=f"^{next(iter(settings))} of an error model must be"):
        ErrorModel(**settings)


def test_saved_and_loaded_it_predicts_the_same(model, tmp_path):
    others = old_vectors(30, 3, 500)
    loaded = ErrorModel.load(model.save(tmp_path / "error"))
    np.testing.assert_array_equal(loaded.predict(others), model.predict(others))
    assert (loaded.space_, loaded.pairs_, loaded.seed) == (OLD, 80, 4)
    assert sorted(path.name for path in (tmp_path / "error").iterdir()) == ["error.json", "error.safetensors"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"penalty": 0.4}, "was altered"),
        ({"pairs": 3}, "was altered"),
        ({"space": {"name": "x", "fingerprint": "c" * 16, "dim": 6}}, "was altered"),
        ({"neighbours": 0}, "neighbours of an error model"),
        ({"neighbours": "5"}, "neighbours: Input should be a valid integer"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"schema": 2}, "has schema 2, this version of bict reads 1"),
    ],
)
def test_an_altered_card_is_refused(model, tmp_path, change, problem):
    path = model.save(tmp_path) / "error.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunError, match=problem):
        ErrorModel.load(tmp_path)


def test_altered_cut_or_missing_weights_are_refused(model, tmp_path):
    path = model.save(tmp_path) / "error.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RunError, match="was altered"):
        ErrorModel.load(tmp_path)
    path.write_bytes(whole[:40])
    with pytest.raises(RunError, match="holds no whole error model"):
        ErrorModel.load(tmp_path)
    path.unlink()
    with pytest.raises(RunError, match="holds no whole error model"):
        ErrorModel.load(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"^cannot write .*: choose another place$"):
        model.save(tmp_path / "file")


def remaining(query, gallery):
    """100 minus the summed error that is left in a gallery of ten rows, whose new vectors are the query."""
    return 100 - float(upgrade_error(gallery, query).sum())


@pytest.fixture
def ten():
    # errors .1, .2, ..., 1: together 5.5
    upgraded, new = off_by(side(np.eye(10), NEW), np.arange(1, 11) / 10)
    return {"query": new, "upgraded": upgraded, "new": new, "score": remaining}


def test_curve_by_hand(ten):
    # of ten rows 1, 3, 5, 8 are replaced: the worst first, so 4.5, 2.8, 1.5 and .3 is left
    found = confidence_curve(np.arange(10.0), **ten, seed=0)
    assert found.rank_correlation == pytest.approx(1)
    assert found.ratios == RATIOS == (0, 0.1, 0.25, 0.5, 0.75, 1)
    assert found.predicted_first == pytest.approx([94.5, 95.5, 97.2, 98.5, 99.7, 100], abs=1e-5)
    least_first = confidence_curve(-np.arange(10.0), **ten, seed=0)
    assert least_first.rank_correlation == pytest.approx(-1)
    assert least_first.predicted_first == pytest.approx([94.5, 94.6, 95.1, 96.0, 98.1, 100], abs=1e-5)
    assert least_first.random == found.random


def test_random_is_the_mean_of_draws(ten):
    galleries = []

    def score(query, gallery):
        galleries.append(gallery.vectors.copy())
        return remaining(query, gallery)

    found = confidence_curve(np.arange(10.0), **ten | {"score": score}, seed=0)
    halves = [vectors for vectors in galleries if (vectors == ten["new"].vectors).all(1).sum() == 5]
    assert len(halves) == 1 + DRAWS
    assert len({vectors.tobytes() for vectors in halves}) == 1 + DRAWS
    scores = [remaining(ten["new"], Embeddings(np.arange(10), vectors, NEW)) for vectors in halves[1:]]
    assert found.random[3] == pytest.approx(np.mean(scores))
    assert (found.random[0], found.random[-1]) == (found.predicted_first[0], found.predicted_first[-1])
    assert found == confidence_curve(np.arange(10.0), **ten, seed=0)
    assert found.random != confidence_curve(np.arange(10.0), **ten, seed=1).random


def test_a_constant_prediction_has_no_rank_correlation(ten):
    assert math.isnan(confidence_curve(np.ones(10), **ten, seed=0).rank_correlation)
    exact = ten | {"upgraded": ten["new"]}
    assert math.isnan(confidence_curve(np.arange(10.0), **exact, seed=0).rank_correlation)


def test_predictions_of_other_rows_are_refused(ten):
    with pytest.raises(DataError, match=r"^found predictions of shape \(9,\), expected one for each of 10 rows"):
        confidence_curve(np.arange(9.0), **ten, seed=0)
    with pytest.raises(DataError, match="no NaN"):
        confidence_curve(np.full(10, np.nan), **ten, seed=0)
