"""Training a model: what it learns, what it writes, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bict.data import ImageSet
from bict.data import images as images_module
from bict.data.images import FilePixels, read_photo
from bict.embeddings import Embeddings
from bict.errors import DataError, ModelError, RunError, SettingsError, SpaceError, UnknownName
from bict.evaluation import evaluate_pair
from bict.losses import BACKWARD_LOSSES
from bict.models import Encoder, Model, default_preprocessing, embed_images, make_model
from bict.training import TrainSettings, train_model
from bict.training.backward import look_at
from bict.training.train import HISTORY

CLASSIFIER = TrainSettings(prototypes="classifier", turned=0)
MEANS = TrainSettings(turned=0)
FILES = {"settings.json", "model.json", "model.safetensors", HISTORY}


def history(directory: Path) -> list[dict[str, float]]:
    return json.loads((directory / HISTORY).read_text())


def losses(directory: Path) -> list[tuple[float, float, float]]:
    return [(record["loss"], record["classification"], record["backward"]) for record in history(directory)]


def test_the_loss_goes_down_and_the_model_tells_its_classes_apart(images, settings, draw_images, tmp_path):
    model = train_model(images, settings(epochs=20), tmp_path / "m")
    first, *_, last = [record["loss"] for record in history(tmp_path / "m")]
    assert last < 0.5 * first
    vectors = torch.from_numpy(embed_images(model, draw_images(8, 4, seed=9)).vectors)
    found = [model.card.classes[row] for row in (vectors @ model.classifier.T).argmax(dim=1)]
    assert np.mean(np.array(found) == np.repeat(model.card.classes, 4)) > 0.9


def test_it_writes_a_model_and_no_pickle(images, settings, tmp_path):
    model = train_model(images, settings(), tmp_path / "m")
    assert {path.name for path in (tmp_path / "m").iterdir()} == FILES
    assert {path.suffix for path in (tmp_path / "m").iterdir()} <= {".json", ".safetensors"}
    assert model.space.name == "m"
    assert model.card.training == settings().model_dump()
    assert [record["epoch"] for record in history(tmp_path / "m")] == [1, 2, 3]


def test_what_it_returns_is_what_it_wrote(new_model, images, same_weights, settings, tmp_path):
    model = train_model(images, settings(), tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert model.card == loaded.card
    assert same_weights(model, loaded)
    np.testing.assert_array_equal(embed_images(model, images).vectors, embed_images(loaded, images).vectors)


def test_the_current_directory_may_be_the_model(images, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train_model(images, settings(epochs=0), Path()).space.name == tmp_path.name


def test_a_compatible_model_declares_it_and_finds_old_vectors(
    images, settings, draw_images, old_model, new_model, tmp_path
):
    free = train_model(images, settings(epochs=16), tmp_path / "free")
    assert new_model.space.backward_compatible_with == (old_model.space.fingerprint,)
    assert free.space.backward_compatible_with == ()
    gallery, queries = embed_images(old_model, images), draw_images(8, 4, seed=9)
    declared = Embeddings(queries.ids, embed_images(free, queries).vectors, new_model.space, queries.labels)
    compatible, chance = (
        evaluate_pair(side, gallery, name="cross-test", query_name="new", gallery_name="old").scores["map"]
        for side in (embed_images(new_model, queries), declared)
    )
    assert compatible > chance + 0.15
    with pytest.raises(SpaceError, match="cannot be compared"):
        evaluate_pair(embed_images(free, queries), gallery, name="", query_name="free new", gallery_name="old")


@pytest.mark.parametrize("name", BACKWARD_LOSSES)
def test_every_backward_loss_goes_down(images, settings, old_model, new_model, name, tmp_path):
    models = {"compatible_with": old_model, "target": new_model}
    train_model(images, settings(backward_loss=name, epochs=4), tmp_path / "m", **models)
    first, *_, last = [record["backward"] for record in history(tmp_path / "m")]
    assert 0 < last < first
    for loss, classification, backward in losses(tmp_path / "m"):
        assert loss == pytest.approx(classification + BACKWARD_LOSSES[name].weight * backward, rel=1e-4)


def test_a_weight_of_zero_is_training_without_the_old_model(images, settings, old_model, tmp_path):
    options = settings(backward_weight=0, augment=True)
    with_old = train_model(images, options, tmp_path / "with", compatible_with=old_model)
    without = train_model(images, options, tmp_path / "without")
    np.testing.assert_array_equal(embed_images(with_old, images).vectors, embed_images(without, images).vectors)


def test_the_weight_counts(images, settings, old_model, tmp_path):
    for weight in (0.5, 2.0):
        train_model(images, settings(backward_weight=weight), tmp_path / f"{weight}", compatible_with=old_model)
        for loss, classification, backward in losses(tmp_path / f"{weight}"):
            assert loss == pytest.approx(classification + weight * backward, rel=1e-4)


def test_the_old_model_is_not_changed(images, settings, old_model, tmp_path):
    before = embed_images(old_model, images).vectors
    train_model(images, settings(), tmp_path / "m", compatible_with=old_model)
    np.testing.assert_array_equal(embed_images(old_model, images).vectors, before)
    assert all(parameter.grad is None for parameter in old_model.encoder.parameters())


def test_the_seed_decides_and_torchs_own_state_is_untouched(images, settings, same_weights, tmp_path):
    models = []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)
        expected = torch.random.get_rng_state()
        models.append(train_model(images, settings(augment=True, seed=seed), tmp_path / f"{number}"))
        assert torch.equal(torch.random.get_rng_state(), expected)
    assert same_weights(models[0], models[1])
    assert losses(tmp_path / "0") == losses(tmp_path / "1") != losses(tmp_path / "2")
    torch.manual_seed(7)
    expected = torch.random.get_rng_state()
    train_model(images, settings(augment=True, seed=1), tmp_path / "0")  # finished: loaded
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_no_epoch_gives_the_model_as_initialised(images, settings, old_model, tmp_path):
    model = train_model(images, settings(epochs=0, seed=4), tmp_path / "m", compatible_with=old_model)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        expected = Encoder("conv-small", "gem", 16, 1).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.encoder.state_dict().items())
    assert history(tmp_path / "m") == []


@pytest.mark.parametrize("names", [["10", "9", "2"], [10, 9, 2]], ids=["text", "numbers"])
def test_labels_are_text_in_sorted_order(draw_images, settings, names, tmp_path):
    three = replace(draw_images(3, 8), labels=np.repeat(names, 8))
    model = train_model(three, settings(epochs=30, batch_size=8), tmp_path / "m")
    assert model.card.classes == ("10", "2", "9")
    vectors = torch.from_numpy(embed_images(model, three).vectors)
    best = (vectors @ model.classifier.T).argmax(dim=1).reshape(3, 8).mode(dim=1).values
    assert best.tolist() == [0, 2, 1]


@pytest.mark.parametrize(("count", "batch_size"), [(33, 32), (5, 128), (2, 2), (3, 2)])
def test_few_images_and_a_last_batch_of_one(images, settings, count, batch_size, tmp_path):
    few = images.take(np.linspace(0, 95, count).astype(int))
    train_model(few, settings(batch_size=batch_size), tmp_path / "m")
    assert np.isfinite(losses(tmp_path / "m")).all()


def test_a_backbone_that_cannot_train_on_one_image_gets_no_batch_of_one(images, settings, tmp_path):
    options = {"backbone": "timm:test_resnet", "size": 32, "batch_size": 4, "epochs": 1}
    train_model(images.take(np.arange(8, 17)), settings(**options), tmp_path / "m")
    assert np.isfinite(losses(tmp_path / "m")).all()


@pytest.mark.parametrize(("size", "channels"), [(24, 1), (16, 3), (8, 3)])
def test_an_old_model_of_another_size_or_number_of_channels(images, settings, size, channels, tmp_path):
    encoder = Encoder("conv-small", "gem", 16, channels)
    preprocessing = default_preprocessing("conv-small", channels, size)
    options = {"name": "old", "backbone": "conv-small", "pooling": "gem", "neck_dim": 16}
    old = make_model(encoder, preprocessing=preprocessing, **options)
    model = train_model(images, settings(epochs=1), tmp_path / "m", compatible_with=old)
    assert model.space.backward_compatible_with == (old.space.fingerprint,)
    assert model.card.preprocessing.size == 16


@pytest.fixture
def photos(images, tmp_path) -> ImageSet:
    """24 photos of 8 classes."""
    rows = np.arange(0, 96, 4)
    for row, grey in zip(rows, images.pixels(rows, 16, 1), strict=True):
        Image.fromarray(np.dstack([grey[..., 0], grey[..., 0] // 2, 255 - grey[..., 0]])).save(tmp_path / f"{row}.png")
    few = images.take(rows)
    source = FilePixels([tmp_path / f"{row}.png" for row in rows])
    return ImageSet("photos", "photos", few.ids, few.labels, few.parts, source)


def test_photos_are_read_from_files(photos, settings, tmp_path):
    options = settings(size=16, batch_size=8, epochs=10, augment=True)
    model = train_model(photos, options, tmp_path / "m")
    assert model.card.preprocessing.channels == 3
    assert losses(tmp_path / "m")[-1] < losses(tmp_path / "m")[0]


def test_photos_are_decoded_once_and_learned_from_alike(photos, settings, tmp_path, monkeypatch):
    decoded: list[Path] = []
    monkeypatch.setattr(
        images_module, "read_photo", lambda path, *how: (decoded.append(path), read_photo(path, *how))[1]
    )
    options = settings(size=16, batch_size=8, epochs=3, augment=True)
    prints = {}
    for megabytes in (0, 1):
        decoded.clear()
        model = train_model(photos, options, tmp_path / f"{megabytes}", pixel_cache=megabytes)
        prints[len(decoded)] = model.space.fingerprint
    assert list(prints) == [3 * 24, 24]
    assert len(set(decoded)) == 24
    assert len(set(prints.values())) == 1


def test_prototypes_are_the_old_classifier_and_mean_old_vectors(images, old_model):
    classes = np.unique(images.labels)
    prototypes = look_at(old_model, images, classes, CLASSIFIER).view.prototypes
    torch.testing.assert_close(prototypes[:4], old_model.classifier)
    vectors = embed_images(old_model, images).vectors
    for row in range(4, 8):
        mean = vectors[images.labels == classes[row]].mean(axis=0)
        np.testing.assert_allclose(prototypes[row], mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prototypes": "classifier"}, "has no classifier: use --prototypes means"),
        ({"backward_loss": "bt2"}, "bt2 needs a freely trained new model: train one, and name it with --target"),
        ({"backward_loss": "bt2", "dim": 0}, "--target"),
    ],
)
def test_a_loss_that_needs_what_is_not_there_is_refused_before_anything_is_written(
    images, settings, old_model, values, message, tmp_path
):
    bare = Model(old_model.encoder, old_model.card, None)
    with pytest.raises(SettingsError, match=message):
        train_model(images, settings(**values), tmp_path / "m", compatible_with=bare)
    assert not (tmp_path / "m").exists()


def test_a_loss_in_the_neck_needs_one(images, settings, old_model, new_model, tmp_path):
    models = {"compatible_with": old_model, "target": new_model}
    with pytest.raises(SettingsError, match="set --dim"):
        train_model(images, settings(backward_loss="bt2", dim=0, other_dim=True), tmp_path / "m", **models)


def test_a_model_of_another_dimension_says_it_is_not_compatible_by_itself(images, settings, old_model, tmp_path):
    new = train_model(images, settings(dim=24, other_dim=True), tmp_path / "m", compatible_with=old_model)
    assert (new.space.dim, new.space.backward_compatible_with) == (24, ())
    with pytest.raises(SpaceError, match="--dim 16"):
        train_model(images, settings(dim=24), tmp_path / "n", compatible_with=old_model)


def test_the_classifier_of_a_folded_model_fits_its_vectors(images, settings, old_model, new_model, tmp_path):
    values = {"backward_loss": "bt2", "backward_weight": 4, "dim": 24, "other_dim": True, "epochs": 16}
    models = {"compatible_with": old_model, "target": new_model}
    new = train_model(images, settings(**values), tmp_path / "m", **models)
    vectors = torch.from_numpy(embed_images(new, images).vectors)
    rows = torch.from_numpy(np.unique(images.labels, return_inverse=True)[1])
    assert ((vectors @ new.classifier.T).argmax(dim=1) == rows).float().mean() > 0.9


def test_a_finished_model_is_loaded_and_not_trained_again(images, settings, same_weights, tmp_path):
    model = train_model(images, settings(), tmp_path / "m")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "m").iterdir()}
    again = train_model(images, settings(), tmp_path / "m", progress=lambda *_: pytest.fail("it trains"))
    assert same_weights(model, again)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "m").iterdir()} == before
    (tmp_path / "m" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="missing or damaged"):
        train_model(images, settings(), tmp_path / "m")


def test_one_class_is_refused(images, settings, tmp_path):
    with pytest.raises(DataError, match="training images have 1 classes, at least 2 are needed"):
        train_model(images.take(np.arange(12)), settings(), tmp_path / "m")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"dim": 8}, SpaceError, "have 16 dimensions, the new model's 8: .* add --dim 16"),
        ({"dim": 0}, SpaceError, "have 16 dimensions, the new model's 96: .* add --dim 16"),
        ({"backbone": "conv-bsae"}, UnknownName, "unknown backbone 'conv-bsae': did you mean 'conv-base'"),
        ({"pooling": "gme"}, UnknownName, "unknown pooling 'gme': did you mean 'gem'"),
        ({"classification": "cosfac"}, UnknownName, "did you mean 'cosface'"),
        ({"backward_loss": "influense"}, UnknownName, "did you mean 'influence'"),
        ({"size": 4}, SettingsError, "size = 4: .*greater than or equal to 8"),
        ({"weights": "hub"}, SettingsError, "weights = 'hub': conv-small has no pretrained weights"),
        ({"weights": "w.safetensors"}, SettingsError, "conv-small has no pretrained weights"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_directory_is_touched(
    images, settings, old_model, values, error, message, tmp_path
):
    with pytest.raises(error, match=message) as info:
        train_model(images, settings(**values), tmp_path / "m", compatible_with=old_model)
    assert "\n" not in str(info.value)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"epochs": 4}}, r"settings\.epochs = 3, not 4"),
        ({"settings": {"seed": 1, "dim": 8}}, r"settings\.dim = 16, not 8"),
        ({"rows": 95}, r"data\.ids = "),
        ({"labels": True}, r"data\.labels = "),
        ({"old": True}, r"compatible_with = None"),
    ],
)
def test_a_directory_with_another_run_is_refused_naming_the_first_difference(
    images, settings, old_model, change, message, tmp_path
):
    train_model(images, settings(), tmp_path / "m")
    other = images.take(np.arange(change.get("rows", 96)))
    if "labels" in change:
        other = replace(other, labels=np.roll(other.labels, 1))
    old = old_model if "old" in change else None
    with pytest.raises(RunError, match=f"holds a run with {message}.*: choose another --out") as info:
        train_model(other, settings(**change.get("settings", {})), tmp_path / "m", compatible_with=old)
    assert "\n" not in str(info.value)


def test_a_directory_with_foreign_files_is_refused_and_left_alone(images, settings, tmp_path):
    (tmp_path / "model.json").write_text("mine")
    with pytest.raises(RunError, match="holds files of something else"):
        train_model(images, settings(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_a_path_below_a_file_is_refused(images, settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be written \(Not a directory\): choose another --out"):
        train_model(images, settings(), tmp_path / "file" / "m")
