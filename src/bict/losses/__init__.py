"""Classification losses (from a library) and backward losses (ours), one file each."""

from bict.losses.backward import BACKWARD_LOSSES, build_backward_loss, find_backward_loss
from bict.losses.backward_loss import BackwardLoss
from bict.losses.batch import Batch, OldView, fit_dim
from bict.losses.classification import CLASSIFICATION_LOSSES, build_classification, classifier_of
from bict.losses.influence import old_prototypes

__all__ = [
    "BACKWARD_LOSSES",
    "CLASSIFICATION_LOSSES",
    "BackwardLoss",
    "Batch",
    "OldView",
    "build_backward_loss",
    "build_classification",
    "classifier_of",
    "find_backward_loss",
    "fit_dim",
    "old_prototypes",
]
