"""Ranking, metrics, compatibility and significance: from ids, labels and vectors to numbers, without models."""

from bict.evaluation.compatibility import (
    Score,
    compatibility_tax,
    recovered_share,
    relative_compatibility_tax,
    update_gain,
)
from bict.evaluation.flips import Flips, flip_rates
from bict.evaluation.metrics import average_precision, average_precision_at, mean, recall_at
from bict.evaluation.ranking import PositiveRanks, nearest, positive_ranks
from bict.evaluation.significance import PairedDifference, bootstrap_interval, paired_bootstrap
from bict.evaluation.summary import PairResult, evaluate_pair

__all__ = [
    "Flips",
    "PairResult",
    "PairedDifference",
    "PositiveRanks",
    "Score",
    "average_precision",
    "average_precision_at",
    "bootstrap_interval",
    "compatibility_tax",
    "evaluate_pair",
    "flip_rates",
    "mean",
    "nearest",
    "paired_bootstrap",
    "positive_ranks",
    "recall_at",
    "recovered_share",
    "relative_compatibility_tax",
    "update_gain",
]
