"""A model on disk: `model.safetensors` and `model.json`, which names the space its vectors lie in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bict.errors import ModelError, RunError, SettingsError, UnknownName
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
        """Write weights, then card, each by renaming a finished file.

        Raises:
            RunError: the directory cannot be written.
        """
        tensors = {name: value.contiguous() for name, value in self.encoder.state_dict().items()}
        if self.classifier is not None:
            tensors[CLASSIFIER] = self.classifier.contiguous()
        weights, card = directory / f"{WEIGHTS}.part", directory / f"{CARD}.part"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            save_file(tensors, weights)
            card.write_text(self.card.model_dump_json(indent=2) + "\n", encoding="utf-8")
            weights.replace(directory / WEIGHTS)
            card.replace(directory / CARD)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{directory} cannot be written ({error}): choose another --out") from error
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
            classifier = tensors.pop(CLASSIFIER, None)
            encoder = Encoder(card.backbone, card.pooling, card.dim, card.preprocessing.channels)
            encoder.load_state_dict(tensors)
        except (OSError, SafetensorError) as error:
            problem = f"{WEIGHTS} is missing or damaged ({error}): restore it or train again"
            raise ModelError(f"{directory}: {problem}") from error
        except (UnknownName, SettingsError) as error:
            raise ModelError(f"{directory}: {CARD} names an architecture that cannot be built: {error}") from error
        except RuntimeError as error:
            problem = f"the weights do not fit the architecture {card.backbone} named in {CARD}: restore both files"
            raise ModelError(f"{directory}: {problem}") from error
        found = space_fingerprint(encoder, card.backbone, card.pooling, card.preprocessing)
        if (found, encoder.dim) != (card.space.fingerprint, card.space.dim):
            problem = f"the weights are not the ones {CARD} names (fingerprint differs): restore both files"
            raise ModelError(f"{directory}: {problem}")
        return cls(encoder.eval(), card, classifier)


def read_card(directory: Path) -> ModelCard:
    """The card of a model directory.

    Raises:
        ModelError: no card, one that cannot be read, or one of a newer format.
    """
    try:
        text = (directory / CARD).read_bytes()
    except OSError as error:
        raise ModelError(f"{directory} is no model directory: it holds no {CARD}") from error
    try:
        content = from_json(text)
    except ValueError as error:
        raise ModelError(f"{directory / CARD} cannot be read: {error}") from error
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise ModelError(f"{directory} was written by a newer bict (format {written}): upgrade bict")
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "content"
        raise ModelError(f"{directory / CARD} cannot be read: {where}: {problem['msg'].lower()}") from error


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
    """A model from a finished encoder; a space it is backward compatible with becomes part of its own space card.

    That older space's own compatibilities are not inherited: nothing was trained towards them.
    """
    older = () if compatible_with is None else (compatible_with.fingerprint,)
    space = Space(
        name=name or backbone,
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
