"""Classification losses (from a library) and backward losses (ours), one file each."""

from bict.losses.backward import BACKWARD_LOSSES, NEEDS_OLD_VECTORS, OldView, backward_loss
from bict.losses.classification import CLASSIFICATION_LOSSES, build_classification, classifier_of
from bict.losses.contrastive import contrastive
from bict.losses.influence import influence, old_prototypes
from bict.losses.regression import regression

__all__ = [
    "BACKWARD_LOSSES",
    "CLASSIFICATION_LOSSES",
    "NEEDS_OLD_VECTORS",
    "OldView",
    "backward_loss",
    "build_classification",
    "classifier_of",
    "contrastive",
    "influence",
    "old_prototypes",
    "regression",
]
