"""FCT that also says how far off it expects to be, so that the worst rows can be embedded again first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bict.transforms.classification import FrozenClassifier
from bict.transforms.fct import FCT, OutputError
from bict.transforms.rung import Pairs, require_at_least
from bict.transforms.units import Units

LOG_VARIANCE = 10.0


@dataclass(eq=False)
class FastFill(FCT):
    """psi as in `FCT`, and a log-variance; loss: 1/2 (e / v + log v) + `class_weight` * classification of psi(o).

    e is the mean squared error of a row over its components and v = exp(log-variance) its predicted value, so the
    first term is the negative log-likelihood of the new vector under a Gaussian around psi(o), for each component. The
    second is the cross-entropy of `scale` * cos(psi(o), prototypes), plain views only, where the pairs have labels and
    prototypes. Jaeckle et al., "FastFill: Efficient Compatible Model Update", ICLR 2023 (arXiv 2303.04766), which
    embeds the rows of the highest predicted variance again first; the weight of the second term is ours.

    Attributes:
        side_dim: as in `FCT`, and so are the settings up to `seed`.
        class_weight: of the classification under the frozen new classifier.
        scale: inverse temperature of it.

    Raises:
        SettingsError: a width, count or weight out of range.
    """

    name: ClassVar[str] = "fastfill"
    beyond: ClassVar[int] = 1
    class_weight: float = 0.1
    scale: float = 16.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, {"class_weight": 0})

    def variance(self, old: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predicted squared error of each row of `(rows, old_dim)`, as `(rows,)`; a backfill starts with the highest.

        In units of the variance of the new training vectors: 1 for a row of which nothing but their mean is known.
        """
        return np.asarray(np.exp(self._outputs(old)[:, -1].clip(-LOG_VARIANCE, LOG_VARIANCE)), np.float32)

    def _error(self, pairs: Pairs, new_units: Units) -> OutputError:
        known = self.class_weight > 0 and pairs.labels is not None and pairs.prototypes is not None
        classifier = FrozenClassifier(pairs, weight=self.class_weight, scale=self.scale) if known else None

        def error(outputs: Tensor, new: Tensor, index: Tensor) -> Tensor:
            mapped, log_variance = outputs[:, :-1], outputs[:, -1].clamp(-LOG_VARIANCE, LOG_VARIANCE)
            squared = (mapped - new).square().mean(dim=1)
            value = ((squared / log_variance.exp() + log_variance) / 2).mean()
            return value if classifier is None else value + classifier.loss(new_units.leave(mapped), index)

        return error
