"""A chain of models, each searching the galleries of those before it: the compatibility matrix and its summaries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bict.errors import DataError, SettingsError
from bict.evaluation.compatibility import Score

Ties = Literal["failure", "success"]


@dataclass(frozen=True, eq=False)
class CompatibilityMatrix:
    """Scores `C[t, k]` of query model t on the gallery of model k, for k <= t, in units of the score.

    Attributes:
        scores: `(models, models)`, oldest model first; the diagonal holds the self-tests, and what lies above it is
            not read.

    Raises:
        DataError: another shape, or a score on or below the diagonal that is not a finite number.
    """

    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.array(self.scores, np.float64)
        if matrix.ndim != 2 or not len(matrix) or len(matrix) != matrix.shape[1]:
            raise DataError(f"found scores of shape {matrix.shape}, expected (models, models), a row for each query")
        lower = np.tril_indices(len(matrix))
        for t, k in zip(*lower, strict=True):
            if not math.isfinite(matrix[t, k]):
                raise DataError(f"found C[{t}, {k}]={matrix[t, k]}, expected a score for each k <= t")
        object.__setattr__(self, "scores", matrix)

    def average_compatibility(self, *, ties: Ties) -> Score:
        """How often a newer model's queries do better on a gallery than the model that made it, in 0 to 1.

        `AC = 2 / (T (T - 1)) #{k < t : C[t, k] > C[k, k]}` over T models (Biondi et al., "CoReS: Compatible
        Representations via Stationarity", TPAMI 2023, arXiv 2111.07632). Undefined for one model.

        Args:
            ties: what `C[t, k] = C[k, k]` is. The equation makes it a "failure", and so does the public code of
                d-Simplex-HOC (Biondi et al., CVPR 2024, arXiv 2405.02581); the public code of CoReS and of CL2R
                counts a "success". On plateaus their figures therefore differ: state the rule with the figure.

        Raises:
            SettingsError: another rule for ties.
        """
        if ties not in ("failure", "success"):
            raise SettingsError(f"found ties={ties!r}, expected 'failure' or 'success'")
        if alone := self._alone():
            return alone
        t, k = np.tril_indices(len(self.scores), -1)
        gain = self.scores[t, k] - self.scores[k, k]
        return Score(float(np.mean(gain >= 0 if ties == "success" else gain > 0)))

    def average_score(self) -> float:
        """Mean over all pairs k <= t, self-tests included: `AM`, the average multi-model accuracy of CoReS (2023)."""
        return float(self.scores[np.tril_indices(len(self.scores))].mean())

    def backward_compatibility(self) -> Score:
        """How well the last model serves the old galleries, `BC = mean_{k < T} (C[T, k] - C[k, k])`.

        Above 0 the last model's queries do better than those of the models that made the galleries (Biondi et al.,
        "CL2R: Compatible Lifelong Learning Representations", TOMM 2022, arXiv 2211.09032). Undefined for one model.
        """
        self_tests = self.scores.diagonal()
        return self._alone() or Score(float(np.mean(self.scores[-1, :-1] - self_tests[:-1])))

    def forward_compatibility(self) -> Score:
        """How well each gallery serves the next model, `FC = mean_{t > 1} (C[t, t - 1] - C[t, t])`.

        0 where the gallery of the model before is as good as one re-embedded by the model itself, below 0 where
        re-embedding would help (CL2R, TOMM 2022, arXiv 2211.09032). Undefined for one model.
        """
        return self._alone() or Score(float(np.mean(self.scores.diagonal(-1) - self.scores.diagonal()[1:])))

    def _alone(self) -> Score | None:
        return Score(math.nan, "a chain of one model has no cross-test") if len(self.scores) == 1 else None
