"""Forward transforms: carry stored old vectors into the space of the new model, without an image."""

from bict.transforms.card import Ladder, RungScore, TransformCard
from bict.transforms.identity import Identity
from bict.transforms.ladder import fit_ladder
from bict.transforms.mlp import ResidualMLP
from bict.transforms.procrustes import Procrustes
from bict.transforms.registry import RUNGS, build_rung
from bict.transforms.ridge import Ridge
from bict.transforms.rung import Pairs, Rung
from bict.transforms.transform import Transform

__all__ = [
    "RUNGS",
    "Identity",
    "Ladder",
    "Pairs",
    "Procrustes",
    "ResidualMLP",
    "Ridge",
    "Rung",
    "RungScore",
    "Transform",
    "TransformCard",
    "build_rung",
    "fit_ladder",
]
