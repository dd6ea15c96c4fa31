"""What a rung of the ladder is, and the pairs it is fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bict.embeddings import check_vectors
from bict.errors import SettingsError, TransformError, VectorError
from bict.progress import Progress, silent
from bict.spaces import Space, fingerprint


@dataclass(frozen=True, eq=False)
class Pairs:
    """Old and new vectors of the same *training* images; checked once, here.

    Attributes:
        old: `(views, images, old_dim)` float32; view 0 is the plain image, the others are augmented views of it.
        new: `(views, images, new_dim)` float32, of the same views in the same order.
        labels: `(images,)` int64 class indices, or None.
        prototypes: `(classes, new_dim)` float32, the frozen classifier of the new model, or None.

    Raises:
        VectorError: sides of different length, wrong shapes, a vector that is zero or not finite, or a label that
            has no prototype.
    """

    old: NDArray[np.float32]
    new: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    prototypes: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for side in ("old", "new"):
            object.__setattr__(self, side, _check_side(getattr(self, side), side))
        if self.old.shape[:2] != self.new.shape[:2]:
            raise VectorError(
                f"pairs of different length: old is {self.old.shape[:2]} (views, images), new is {self.new.shape[:2]}"
            )
        if self.labels is not None:
            object.__setattr__(self, "labels", _check_labels(self.labels, self.images))
        if self.prototypes is not None:
            object.__setattr__(self, "prototypes", self._check_prototypes(self.prototypes))

    @property
    def views(self) -> int:
        """Views per image, the plain one included."""
        return len(self.old)

    @property
    def images(self) -> int:
        """How many images were embedded by both models."""
        return len(self.old[0])

    def flat(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both sides as `(views * images, dim)`, all images of view 0 first."""
        return self.old.reshape(-1, self.old.shape[2]), self.new.reshape(-1, self.new.shape[2])

    def take(self, image_index: NDArray[Any]) -> Pairs:
        """All views of the images selected by an index or boolean array; the prototypes stay as they are."""
        labels = None if self.labels is None else self.labels[image_index]
        return Pairs(self.old[:, image_index], self.new[:, image_index], labels, self.prototypes)

    def without_classes(self, classes: NDArray[np.int64]) -> Pairs:
        """The pairs as if these classes had never been seen: their images and their prototypes are left out.

        Raises:
            TransformError: the pairs have no labels.
        """
        if self.labels is None:
            raise TransformError("pairs without labels have no classes to leave out: pass labels with the pairs")
        rest = self.take(~np.isin(self.labels, classes))
        if rest.prototypes is None or rest.labels is None:
            return rest
        kept = np.ones(len(rest.prototypes), bool)
        kept[classes] = False
        return Pairs(rest.old, rest.new, np.cumsum(kept)[rest.labels] - 1, rest.prototypes[kept])

    def exchanged(self) -> Pairs:
        """The same images with old and new exchanged, for a map the other way; the prototypes, in the new space, go."""
        return Pairs(self.new, self.old, self.labels)

    def require_spaces(self, old_space: Space, new_space: Space) -> None:
        """Refuse pairs whose sides cannot lie in these spaces.

        Raises:
            TransformError: a side has not the dimension of its space.
            VectorError: vectors that cannot lie in their space.
        """
        for side, space, name in ((self.old, old_space, "old"), (self.new, new_space, "new")):
            if side.shape[2] != space.dim:
                raise TransformError(
                    f"{name} vectors have {side.shape[2]} dimensions, their space {space} has {space.dim}"
                )
            for view in side:
                check_vectors(view, space)

    def digest(self) -> str:
        """SHA-256 over every array with its shape, as 64 hexadecimal digits."""
        arrays = [*self.old, *self.new, self.labels, self.prototypes]
        return fingerprint(*(b"" if array is None else _digest(array) for array in arrays))

    def _check_prototypes(self, prototypes: NDArray[Any]) -> NDArray[np.float32]:
        prototypes = np.ascontiguousarray(prototypes, np.float32)
        if prototypes.ndim != 2 or prototypes.shape[1] != self.new.shape[2]:
            raise VectorError(f"expected prototypes (classes, {self.new.shape[2]}), found {prototypes.shape}")
        if self.labels is not None and self.labels.max() >= len(prototypes):
            raise VectorError(f"label {self.labels.max()} has no prototype: found {len(prototypes)} prototypes")
        if not np.isfinite(prototypes).all():
            raise VectorError("prototypes hold values that are not finite")
        return prototypes


class Rung(Protocol):
    """One way to carry old vectors into the new space; a rung of the ladder.

    As in scikit-learn, the constructor takes hyperparameters only, `fit` returns self, and learned attributes end in
    `_` and exist after `fit`. A rung that draws random numbers has a hyperparameter called `seed`.
    """

    name: ClassVar[str]

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Learn the map from every view of the pairs; `progress` is told the steps done, and of how many.

        Raises:
            TransformError: the rung cannot be fitted on these pairs.
        """
        ...

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, old_dim)` to `(rows, new_dim)` float32, *not* normalised; each row by itself."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """The learned arrays, by name."""
        ...

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The fitted rung that had this state and these settings."""
        ...

    def settings(self) -> dict[str, Any]:
        """The hyperparameters, as JSON values; they are the keyword arguments of the constructor."""
        ...


def require_at_least(rung: Rung, least: Mapping[str, float]) -> None:
    """Refuse hyperparameters of a rung that lie below their bounds; None stands for a default and passes.

    Raises:
        SettingsError: one lies below its bound, or is not a number.
    """
    for name, bound in least.items():
        value = getattr(rung, name)
        if value is not None and not value >= bound:
            raise SettingsError(f"{name} of {rung.name} must be at least {bound}, found {value}")


def _check_side(side: NDArray[Any], name: str) -> NDArray[np.float32]:
    side = np.ascontiguousarray(side, np.float32)
    if side.ndim != 3 or 0 in side.shape:
        raise VectorError(f"expected {name} vectors of shape (views, images, dim), found {side.shape}")
    norms = np.linalg.norm(side, axis=2)
    bad = ~np.isfinite(norms) | (norms == 0)
    if bad.any():
        view, image = np.argwhere(bad)[0]
        raise VectorError(f"{bad.sum()} {name} vectors are zero or not finite, the first is image {image}, view {view}")
    return side


def _check_labels(labels: NDArray[Any], images: int) -> NDArray[np.int64]:
    labels = np.asarray(labels)
    if labels.shape != (images,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise VectorError(f"expected ({images},) class indices from 0 on, found {labels.dtype} of shape {labels.shape}")
    return labels.astype(np.int64)


def _digest(array: NDArray[Any]) -> bytes:
    return fingerprint(str((array.dtype.str, array.shape)).encode(), array.tobytes()).encode()
