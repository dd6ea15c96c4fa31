"""The rungs there are, by name, simplest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bict.errors import UnknownName
from bict.transforms.drift_mlp import DriftMLP
from bict.transforms.fastfill import FastFill
from bict.transforms.fct import FCT
from bict.transforms.head import Head
from bict.transforms.identity import Identity
from bict.transforms.lambda_orthogonal import LambdaOrthogonal
from bict.transforms.low_rank import LowRank
from bict.transforms.mlp import ResidualMLP
from bict.transforms.procrustes import Procrustes
from bict.transforms.ridge import Ridge
from bict.transforms.rung import Rung

SIMPLEST_FIRST: tuple[type[Rung], ...] = (
    *(Identity, Procrustes, LambdaOrthogonal, LowRank, Ridge),
    *(DriftMLP, ResidualMLP, FCT, FastFill, Head),
)
RUNGS: dict[str, type[Rung]] = {rung.name: rung for rung in SIMPLEST_FIRST}


def build_rung(name: str, settings: Mapping[str, Any] | None = None, *, seed: int = 0) -> Rung:
    """An unfitted rung with these settings over its defaults; one that draws random numbers gets the seed.

    Raises:
        UnknownName: no rung has this name, or the rung has no such setting.
    """
    if name not in RUNGS:
        raise UnknownName("rung", name, RUNGS)
    known = RUNGS[name]().settings()
    for key in settings or {}:
        if key not in known:
            raise UnknownName(f"setting of {name}", key, known)
    return RUNGS[name](**({"seed": seed} if "seed" in known else {}) | dict(settings or {}))
