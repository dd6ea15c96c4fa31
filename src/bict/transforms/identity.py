"""The rung that changes nothing: the bar every other rung has to clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bict.errors import TransformError
from bict.progress import Progress, silent
from bict.transforms.rung import Pairs


@dataclass(eq=False)
class Identity:
    """psi(x) = x: right where the new model was trained to match the old vectors, for example with a large weight."""

    name: ClassVar[str] = "identity"

    def fit(self, pairs: Pairs, *, progress: Progress = silent) -> Self:
        """Learn nothing.

        Raises:
            TransformError: the two spaces have different dimensions.
        """
        old_dim, new_dim = pairs.old.shape[2], pairs.new.shape[2]
        if old_dim != new_dim:
            raise TransformError(
                f"identity needs equal dimensions, found {old_dim} old and {new_dim} new: take procrustes or ridge"
            )
        return self

    def transform(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy of `(rows, dim)`."""
        return np.array(old, np.float32, order="C")

    def state(self) -> dict[str, NDArray[Any]]:
        """No arrays."""
        return {}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The identity, which has no state."""
        return cls(**settings)

    def settings(self) -> dict[str, Any]:
        """No hyperparameters."""
        return {}
