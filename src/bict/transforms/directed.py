"""A fitted rung that knows which space it maps from and to, on disk and in memory; what all directions share."""

from __future__ import annotations

import copy
import json
import os
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bict.embeddings import Embeddings, divided, norms
from bict.errors import SettingsError, SpaceError, TransformError
from bict.spaces import Space, fingerprint, require_same
from bict.transforms.card import Direction, Ladder, TransformCard, parse_card
from bict.transforms.fct import FCT
from bict.transforms.onnx_export import onnx_model
from bict.transforms.precision import FULL, PRECISIONS
from bict.transforms.registry import RUNGS
from bict.transforms.residual import Residual
from bict.transforms.rung import Rung

WEIGHTS = "transform.safetensors"
CARD = "transform.json"


class Directed:
    """Carries vectors of one space into another, and refuses to do anything else.

    Attributes:
        direction: which way, for the card and the digest.
        noun: what messages call it.
        takes: what it maps, in messages.
        rung: the fitted map.
        source: space of the vectors it takes.
        target: space of the vectors it gives.
        data_hash: SHA-256 of the pairs the rung was fitted on, or None.
        scores: how the rung was chosen, or None.
        created: UTC time of the fit, ISO 8601.
        settings: of the rung, as they were when it was first written.
        path: directory it was last written to or read from, or None.
        precision: of its network, `at`.
    """

    direction: ClassVar[Direction]
    noun: ClassVar[str]
    takes: ClassVar[str]

    def __init__(
        self,
        rung: Rung,
        source: Space,
        target: Space,
        *,
        data_hash: str | None = None,
        scores: Ladder | None = None,
        created: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.rung, self.source, self.target = rung, source, target
        self.data_hash, self.scores = data_hash, scores
        self.created = created or datetime.now(UTC).isoformat(timespec="seconds")
        self.settings = rung.settings() if settings is None else settings
        self.path: Path | None = None
        self.precision = FULL
        self._exact: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rung.name}: {self.source} -> {self.target})"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over direction, rung, settings, weights and both spaces, as 64 hexadecimal digits."""
        return _digest(self.direction, self.rung.name, self.settings, self.rung.state(), self.source, self.target)

    def at(self, precision: str) -> Self:
        """The same map, whose network multiplies in another precision; its digest is another one, as its output is.

        Weights and hidden values have the precision; the affine map beside a hidden layer, sums and results stay in
        float32. It cannot be saved: what is on disk is the map in float32.

        Args:
            precision: a name in `PRECISIONS`.

        Raises:
            SettingsError: no such precision, or a rung without a network, which is bound by reading and writing.
        """
        if precision not in PRECISIONS:
            raise SettingsError(f"found precision {precision!r}, expected {', '.join(PRECISIONS)}")
        if precision == self.precision:
            return self
        if not isinstance(self.rung, Residual | FCT) or self.precision != FULL:
            raise SettingsError(f"{self.rung.name} has no network to compute in {precision}: leave --precision out")
        other = copy.copy(self)
        other.rung, other.precision, other._exact = self.rung.at(PRECISIONS[precision]), precision, self
        other.__dict__["digest"] = fingerprint(self.digest.encode(), precision.encode())
        return other

    @property
    def exact(self) -> Self:
        """The same in float32: itself, where it does."""
        return self if self._exact is None else self._exact

    @property
    def gains_from_gpu(self) -> bool:
        """Whether the rung is a network, whose weights are worth moving to a GPU."""
        return isinstance(self.rung, Residual | FCT)

    def to_gpu(self) -> None:
        """Keep a network's weights on the GPU from now on, where there is one; results differ by rounding."""
        if isinstance(self.rung, Residual | FCT) and torch.cuda.is_available():
            self.rung.weights_ = {name: weight.cuda() for name, weight in self.rung.weights_.items()}

    def apply(self, embeddings: Embeddings, *, batch: int = 1024) -> Embeddings:
        """Mapped vectors with the same ids and labels, `batch` rows at a time; unit length where the target is.

        Raises:
            SpaceError: the vectors are not of the source space.
            TransformError: a vector comes out zero or not finite.
        """
        self._check_direction(embeddings.space)
        mapped = np.empty((len(embeddings), self.target.dim), np.float32)
        for start in range(0, len(embeddings), batch):
            rows = slice(start, start + batch)
            mapped[rows] = self._map(embeddings.vectors[rows], embeddings.ids[rows])
        return Embeddings(embeddings.ids, mapped, self.target, embeddings.labels)

    def save(self, directory: str | Path) -> Path:
        """Write `transform.safetensors`, then `transform.json`, each in one atomic step.

        Raises:
            TransformError: the directory cannot be written, or another precision than float32.
        """
        directory = Path(directory)
        self._require_full()
        state = {name: np.asarray(array, order="C") for name, array in self.rung.state().items()}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            replace_file(directory / WEIGHTS, save(state))
            replace_file(directory / CARD, (self.card().model_dump_json(indent=2) + "\n").encode())
        except OSError as error:
            raise TransformError(f"cannot write the {self.noun} to {directory}: {error.strerror}") from error
        self.path = directory
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read what `save` wrote and check that it is the one that was written.

        Raises:
            TransformError: a missing directory or file, a truncated file, altered weights, settings or spaces, another
                direction, a newer schema, or a rung this version does not have.
        """
        directory = Path(directory)
        card = parse_card(_read(directory, CARD).decode(errors="replace"), f"{directory / CARD}")
        if card.direction != cls.direction:
            raise TransformError(f"{directory} maps {card.direction}, expected a {cls.noun}, {cls.direction}")
        try:
            state = load(_read(directory, WEIGHTS))
        except SafetensorError as error:
            raise TransformError(f"{directory / WEIGHTS} is truncated or altered: restore it, or fit again") from error
        if _digest(card.direction, card.rung, card.settings, state, card.source, card.target) != card.digest:
            raise TransformError(f"{directory} was altered: weights, settings or spaces do not match the card's digest")
        found = cls(
            _rebuild(card, state, directory),
            card.source,
            card.target,
            data_hash=card.data_hash,
            scores=card.scores,
            created=card.created,
            settings=card.settings,
        )
        found.path = directory
        return found

    def to_onnx(self, path: str | Path) -> Path:
        """Write the map as one ONNX model, `onnx_model`, in one atomic step.

        Raises:
            MissingExtra: onnx or onnxruntime is not installed.
            TransformError: the file cannot be written, or the model does not do what `apply` does.
        """
        self._require_full()
        path, content = Path(path), onnx_model(self)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        except OSError as error:
            raise TransformError(f"cannot write the {self.noun} to {path}: {error.strerror}") from error
        return path

    def card(self) -> TransformCard:
        """Everything about it but its weights."""
        return TransformCard(
            direction=self.direction,
            rung=self.rung.name,
            settings=self.settings,
            source=self.source,
            target=self.target,
            digest=self.digest,
            data_hash=self.data_hash,
            scores=self.scores,
            created=self.created,
            bict_version=version("bict"),
        )

    def _require_full(self) -> None:
        if self.precision != FULL:
            raise TransformError(f"this {self.noun} computes in {self.precision}: write the one it was made from")

    def _check_direction(self, space: Space) -> None:
        if space.same_as(self.target) and not space.same_as(self.source):
            raise SpaceError(
                f"the direction looks swapped: found vectors of {space}, the space this {self.noun} maps into; it "
                f"takes {self.takes} of {self.source}"
            )
        require_same(space, self.source, f"this {self.noun} maps {self.takes}")

    def _map(self, vectors: NDArray[np.float32], ids: NDArray[Any]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):
            mapped = self.rung.transform(vectors)
            if mapped.shape != (len(vectors), self.target.dim):
                shape = mapped.shape[1:]
                raise TransformError(f"{self.rung.name} gives vectors of shape {shape}, expected {self.target}")
            lengths = norms(mapped)
        bad = ~np.isfinite(lengths) | (lengths == 0)
        if bad.any():
            first = ids[bad][0].item()
            raise TransformError(
                f"{self.rung.name} maps id {first!r} to a vector that is zero or not finite: leave it out, or fit again"
            )
        return divided(mapped, lengths) if self.target.normalised else mapped


def _digest(
    direction: str, rung: str, settings: dict[str, Any], state: dict[str, NDArray[Any]], source: Space, target: Space
) -> str:
    spaces = [[space.fingerprint, space.dim, space.metric, space.normalised] for space in (source, target)]
    parts = [json.dumps([direction, rung, settings, spaces], sort_keys=True).encode()]
    for name in sorted(state):
        array = np.asarray(state[name], order="C")
        parts += [json.dumps([name, array.dtype.str, array.shape]).encode(), array.tobytes()]
    return fingerprint(*parts)


def _rebuild(card: TransformCard, state: dict[str, NDArray[Any]], directory: Path) -> Rung:
    if card.rung not in RUNGS:
        raise TransformError(f"{directory} holds rung {card.rung!r}, this bict has {', '.join(RUNGS)}: upgrade bict")
    try:
        return RUNGS[card.rung].from_state(state, card.settings)
    except (KeyError, TypeError) as error:
        raise TransformError(f"{directory} holds a {card.rung} of another version of bict: {error}") from error


def _read(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        what = f"no directory {directory}" if not directory.is_dir() else f"no readable {name} in {directory}"
        raise TransformError(f"{what}: expected a directory with {CARD} and {WEIGHTS}") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step, on the disk when it returns.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
