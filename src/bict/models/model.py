"""A model on disk: `model.safetensors` and `model.json`, which names the space its vectors lie in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bict.errors import ModelError
from bict.models.encoder import Encoder
from bict.models.preprocessing import Preprocessing
from bict.spaces import Space, fingerprint

WEIGHTS = "model.safetensors"
CARD = "model.json"
CLASSIFIER = "classifier.weight"
FORMAT = 1


class ModelCard(BaseModel):
    """What is needed to rebuild a model and to know its space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    backbone: str
    pooling: str
    dim: int
    preprocessing: Preprocessing
    space: Space
    classes: tuple[str, ...] = ()
    training: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Model:
    """An encoder with its card and, where it was trained, its classifier `(classes, space.dim)` of unit rows."""

    encoder: Encoder
    card: ModelCard
    classifier: torch.Tensor | None = None

    @property
    def space(self) -> Space:
        """The space of its vectors."""
        return self.card.space

    def save(self, directory: Path) -> Path:
        """Write weights, then card, each by renaming a finished file."""
        directory.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.contiguous() for name, value in self.encoder.state_dict().items()}
        if self.classifier is not None:
            tensors[CLASSIFIER] = self.classifier.contiguous()
        temporary = directory / f"{WEIGHTS}.part"
        save_file(tensors, temporary)
        temporary.replace(directory / WEIGHTS)
        temporary = directory / f"{CARD}.part"
        temporary.write_text(self.card.model_dump_json(indent=2) + "\n")
        temporary.replace(directory / CARD)
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> Model:
        """Read a model and check that its weights are the ones its card names.

        Raises:
            ModelError: the directory is no model, or a file is missing, damaged, altered or of a newer format.
        """
        directory = Path(directory)
        card = read_card(directory)
        try:
            tensors = load_file(directory / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{directory}: {WEIGHTS} is missing or damaged ({error}): restore it or train again") from error
        classifier = tensors.pop(CLASSIFIER, None)
        encoder = Encoder(card.backbone, card.pooling, card.dim, card.preprocessing.channels)
        try:
            encoder.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(f"{directory}: the weights do not fit the architecture {card.backbone} named in {CARD}") from error
        if space_fingerprint(encoder, card.backbone, card.pooling, card.preprocessing) != card.space.fingerprint:
            raise ModelError(f"{directory}: the weights are not the ones {CARD} names (fingerprint differs): they were altered")
        return cls(encoder.eval(), card, classifier)


def read_card(directory: Path) -> ModelCard:
    """The card of a model directory.

    Raises:
        ModelError: no card, or one that cannot be read.
    """
    try:
        text = (directory / CARD).read_text()
    except OSError as error:
        raise ModelError(f"{directory} is no model directory: it holds no {CARD}") from error
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{directory / CARD} cannot be read: {error.errors()[0]['msg']}") from error
    if card.format > FORMAT:
        raise ModelError(f"{directory} was written by a newer bict (format {card.format}): upgrade bict")
    return card


def space_fingerprint(encoder: Encoder, backbone: str, pooling: str, preprocessing: Preprocessing) -> str:
    """Hash over architecture, preprocessing and weights; renaming a model does not change it."""
    parts = [backbone.encode(), pooling.encode(), preprocessing.model_dump_json().encode()]
    for name, value in sorted(encoder.state_dict().items()):
        parts += [name.encode(), value.detach().cpu().contiguous().numpy().tobytes()]
    return fingerprint(*parts)


def make_model(
    encoder: Encoder,
    *,
    name: str,
    backbone: str,
    pooling: str,
    preprocessing: Preprocessing,
    neck_dim: int,
    classifier: torch.Tensor | None = None,
    classes: tuple[str, ...] = (),
    compatible_with: Space | None = None,
    training: dict[str, Any] | None = None,
) -> Model:
    """A model from a finished encoder; a space it is backward compatible with becomes part of its own space card."""
    older = () if compatible_with is None else (compatible_with.fingerprint,)
    space = Space(
        name=name,
        fingerprint=space_fingerprint(encoder, backbone, pooling, preprocessing),
        dim=encoder.dim,
        backward_compatible_with=older,
    )
    card = ModelCard(
        backbone=backbone,
        pooling=pooling,
        dim=neck_dim,
        preprocessing=preprocessing,
        space=space,
        classes=classes,
        training=training or {},
    )
    return Model(encoder.eval(), card, classifier)
