"""Maps between the old and the new space: forward transforms of stored old vectors, bridges of new queries."""

from bict.transforms.bridge import BRIDGES, QueryBridge, fit_bridge, slerp
from bict.transforms.card import Ladder, RungScore, TransformCard
from bict.transforms.drift_mlp import DriftMLP
from bict.transforms.fastfill import FastFill
from bict.transforms.fct import FCT
from bict.transforms.head import Head
from bict.transforms.identity import Identity
from bict.transforms.ladder import fit_ladder
from bict.transforms.lambda_orthogonal import LambdaOrthogonal
from bict.transforms.low_rank import LowRank
from bict.transforms.mlp import ResidualMLP
from bict.transforms.procrustes import Procrustes
from bict.transforms.registry import RUNGS, build_rung
from bict.transforms.ridge import Ridge
from bict.transforms.rung import Pairs, Rung
from bict.transforms.transform import Transform

__all__ = [
    "BRIDGES",
    "FCT",
    "RUNGS",
    "DriftMLP",
    "FastFill",
    "Head",
    "Identity",
    "Ladder",
    "LambdaOrthogonal",
    "LowRank",
    "Pairs",
    "Procrustes",
    "QueryBridge",
    "ResidualMLP",
    "Ridge",
    "Rung",
    "RungScore",
    "Transform",
    "TransformCard",
    "build_rung",
    "fit_bridge",
    "fit_ladder",
    "slerp",
]
