"""Backward losses by name: each pulls new vectors to where the old model's vectors are."""

from __future__ import annotations

from bict.errors import UnknownName
from bict.losses.advbct import AdvBCT
from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import OldView
from bict.losses.bt2 import BT2
from bict.losses.contrastive import Contrastive
from bict.losses.hoc import HOC
from bict.losses.influence import Influence
from bict.losses.joint import Joint
from bict.losses.lce import LCE
from bict.losses.mixbct import MixBCT
from bict.losses.ract import RACT
from bict.losses.regression import Regression
from bict.losses.turned import Turned
from bict.losses.unibct import UniBCT

BACKWARD_LOSSES: dict[str, type[BackwardLoss]] = {
    loss.name: loss
    for loss in (Influence, Contrastive, Regression, RACT, UniBCT, LCE, MixBCT, AdvBCT, BT2, HOC, Joint, Turned)
}


def find_backward_loss(name: str) -> type[BackwardLoss]:
    """A backward loss by name.

    Raises:
        UnknownName: none of `BACKWARD_LOSSES`.
    """
    if name not in BACKWARD_LOSSES:
        raise UnknownName("backward loss", name, BACKWARD_LOSSES)
    return BACKWARD_LOSSES[name]


def build_backward_loss(name: str, view: OldView, new_dim: int) -> BackwardLoss:
    """A backward loss that knows the old model, for new vectors of dimension `new_dim`.

    Raises:
        UnknownName: none of `BACKWARD_LOSSES`.
    """
    return find_backward_loss(name)(view, new_dim)
