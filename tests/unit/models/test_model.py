from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bict.errors import ModelError, RunError, SpaceError
from bict.models import Model, Preprocessing, embed_images, read_card
from bict.models.model import CARD, CLASSIFIER, WEIGHTS, space_fingerprint
from bict.spaces import compare


def refused(directory: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Model.load(directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)
    return str(caught.value)


def edit_card(directory: Path, **changes: object) -> None:
    card = json.loads((directory / CARD).read_text())
    (directory / CARD).write_text(json.dumps(card | changes))


@pytest.fixture
def saved(model, tmp_path):
    return model(classifier=torch.eye(3, 16), classes=("a", "b", "c")).save(tmp_path / "model")


# --- save and load --------------------------------------------------------------------------------------------------


def test_a_loaded_model_gives_the_same_vectors(model, characters, tmp_path):
    made = model(classifier=torch.eye(3, 16), classes=("a", "b", "ç 漢"), training={"epochs": 3, "scale": 24.0})
    loaded = Model.load(made.save(tmp_path / "models" / "first"))
    assert sorted(path.name for path in (tmp_path / "models" / "first").iterdir()) == [CARD, WEIGHTS]
    assert loaded.card == made.card
    assert loaded.space == made.space
    assert loaded.card.training == {"epochs": 3, "scale": 24.0}
    assert torch.equal(loaded.classifier, made.classifier)
    assert not loaded.encoder.training
    first, second = embed_images(made, characters), embed_images(loaded, characters)
    assert (first.vectors == second.vectors).all()


@pytest.mark.parametrize(
    ("backbone", "pooling", "dim", "channels", "size"),
    [("conv-large", "average", 0, 3, 16), ("timm:resnet18", "gem", 8, 3, 64)],
)
def test_every_architecture_comes_back(model, photos, tmp_path, backbone, pooling, dim, channels, size):
    made = model(backbone, pooling, dim, channels, size)
    loaded = Model.load(str(made.save(tmp_path / "model")))
    assert loaded.classifier is None
    assert (embed_images(made, photos).vectors == embed_images(loaded, photos).vectors).all()


def test_saving_again_replaces_the_model(model, tmp_path):
    model(seed=0).save(tmp_path / "model")
    second = model(seed=1)
    second.save(tmp_path / "model")
    assert Model.load(tmp_path / "model").space == second.space


def test_weights_laid_out_with_their_channels_last_are_saved_alike(model, tmp_path):
    made = model(seed=0)
    made.encoder.to(memory_format=torch.channels_last)
    assert Model.load(made.save(tmp_path / "model")).space == model(seed=0).space


def test_a_place_that_cannot_be_written_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot be written"):
        model().save(tmp_path / "file" / "model")


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tensor", ["backbone.stages.0.weight", "backbone.stages.1.running_mean", "neck.bias"])
def test_one_flipped_byte_of_the_weights_is_noticed(saved, tensor):
    content = bytearray((saved / WEIGHTS).read_bytes())
    header = int.from_bytes(content[:8], "little")
    start, _ = json.loads(content[8 : 8 + header])[tensor]["data_offsets"]
    content[8 + header + start] ^= 1
    (saved / WEIGHTS).write_bytes(content)
    assert "the weights are not the ones model.json names (fingerprint differs)" in refused(saved)


def test_weights_of_another_model_are_noticed(saved, model, tmp_path):
    model(seed=1).save(tmp_path / "other")
    (tmp_path / "other" / WEIGHTS).replace(saved / WEIGHTS)
    assert "fingerprint differs" in refused(saved)


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_truncated_weights_are_refused(saved, cut):
    (saved / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:cut])
    assert f"{WEIGHTS} is missing or damaged (" in refused(saved)


def test_missing_files_are_refused(saved, tmp_path):
    (saved / WEIGHTS).unlink()
    assert f"{WEIGHTS} is missing or damaged (" in refused(saved)
    (saved / CARD).unlink()
    for directory in (saved, tmp_path / "gone", tmp_path / "gone" / "deeper"):
        assert refused(directory) == f"{directory} is no model directory: it holds no {CARD}"


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\xff\xfe\x00", b"[]", b"null", b"{}", b'{"format": "one"}', b'{"format": 1, "backbone": 3}'],
)
def test_a_garbage_card_is_refused(saved, content):
    (saved / CARD).write_bytes(content)
    assert f"{saved / CARD} cannot be read: " in refused(saved)


def test_a_card_of_a_newer_format_says_so_whatever_else_it_holds(saved):
    edit_card(saved, format=2, resolution={"height": 3})
    assert refused(saved) == f"{saved} was written by a newer bict (format 2): upgrade bict"
    edit_card(saved, format=1)
    assert "resolution: extra inputs are not permitted" in refused(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "conv-base"}, "the weights do not fit the architecture conv-base named in model.json"),
        ({"backbone": "timm:resnet18"}, "the weights do not fit the architecture timm:resnet18"),
        ({"dim": 8}, "the weights do not fit the architecture conv-small"),
        ({"dim": 0}, "the weights do not fit the architecture conv-small"),
        ({"backbone": "conv-huge"}, "names an architecture that cannot be built: unknown backbone 'conv-huge'"),
        ({"backbone": "timm:resnet81"}, "names an architecture that cannot be built: unknown timm backbone"),
        ({"pooling": "max"}, "names an architecture that cannot be built: unknown pooling 'max'"),
        ({"dim": -3}, "names an architecture that cannot be built: dim must be 0"),
        ({"pooling": "average"}, "fingerprint differs"),
        ({"preprocessing": {"size": 17, "channels": 1, "mean": [0], "std": [1]}}, "fingerprint differs"),
        ({"preprocessing": {"size": 16, "channels": 3, "mean": [0], "std": [1]}}, "mean and std need 3 values"),
        ({"space": {"name": "", "fingerprint": "a" * 16, "dim": 16}}, "space.name: string should have at least 1"),
    ],
)
def test_a_card_of_another_architecture_is_refused(saved, change, message):
    edit_card(saved, **change)
    assert message in refused(saved)


def test_a_card_that_lies_about_the_dimension_is_refused(saved):
    space = json.loads((saved / CARD).read_text())["space"]
    edit_card(saved, space={**space, "dim": 17})
    assert "the weights are not the ones" in refused(saved)


def test_a_card_can_be_read_alone(saved):
    (saved / WEIGHTS).unlink()
    assert read_card(saved).classes == ("a", "b", "c")


def test_the_classifier_is_no_part_of_the_space(saved):
    tensors = load_file(saved / WEIGHTS)
    tensors[CLASSIFIER] = torch.ones(3, 16)
    save_file(tensors, saved / WEIGHTS)
    assert torch.equal(Model.load(saved).classifier, torch.ones(3, 16))


# --- identity -------------------------------------------------------------------------------------------------------


def test_renaming_keeps_the_space_and_everything_else_changes_it(model):
    first = model()
    assert model(name="renamed").space.same_as(first.space)
    assert model(classes=("a",), training={"epochs": 9}, classifier=torch.eye(1, 16)).space.same_as(first.space)
    shifted = Preprocessing(size=16, channels=1, mean=(0.1,), std=(1.0,))
    others = [
        model(seed=1),
        model(size=20),
        model(preprocessing=shifted),
        model(pooling="average"),
        model(dim=0),
        model("conv-base"),
    ]
    assert len({other.space.fingerprint for other in [first, *others]}) == 7


def test_one_step_of_training_changes_the_fingerprint(model):
    made = model()
    arguments = (made.card.backbone, made.card.pooling, made.card.preprocessing)
    assert space_fingerprint(made.encoder, *arguments) == made.space.fingerprint
    with torch.no_grad():
        made.encoder.neck.bias[0] += 1e-6
    assert space_fingerprint(made.encoder, *arguments) != made.space.fingerprint


def test_the_space_says_what_the_encoder_gives(model):
    assert (model(dim=8).space.dim, model(dim=0).space.dim) == (8, 96)
    assert model(dim=0).card.dim == 0
    space = model().space
    assert (space.metric, space.normalised, space.backward_compatible_with) == ("cosine", True, ())


def test_a_nameless_model_is_named_after_its_backbone(model):
    assert model(name="").space.name == "conv-small"


def test_a_model_declares_the_space_it_was_trained_towards_and_no_other(model, tmp_path):
    first = model(seed=1, name="first")
    second = model(seed=2, name="second", compatible_with=first.space)
    third = model(seed=3, name="third", compatible_with=second.space)
    second = Model.load(second.save(tmp_path / "second"))
    assert second.space.backward_compatible_with == (first.space.fingerprint,)
    assert compare(second.space, first.space) == "backward compatible"
    assert compare(third.space, second.space) == "backward compatible"
    for query, gallery in ((first, second), (third, first)):
        with pytest.raises(SpaceError):
            compare(query.space, gallery.space)


def test_a_declaration_is_no_part_of_the_identity(model):
    old = model(seed=1).space
    assert model(compatible_with=old).space.same_as(model().space)
