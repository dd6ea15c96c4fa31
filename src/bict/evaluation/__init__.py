"""Ranking, metrics, compatibility and significance: from ids, labels and vectors to numbers, without models."""

from bict.evaluation.advbct import p_1, p_comp, p_up
from bict.evaluation.backfill import (
    BACKFILL_RATIOS,
    BackfillCurve,
    backfilled_rows,
    farthest_first,
    mixed_gallery,
    random_order,
    uncertain_first,
)
from bict.evaluation.chain import CompatibilityMatrix
from bict.evaluation.compatibility import (
    Score,
    compatibility_tax,
    recovered_share,
    relative_compatibility_tax,
    update_gain,
)
from bict.evaluation.criterion import ForwardCriterion, empirical_criterion, forward_criterion
from bict.evaluation.distribution import ScoreGap, score_gap
from bict.evaluation.flips import Flips, flip_rates
from bict.evaluation.landmarks import LandmarkScore, RevisitedTruth, landmark_scores, revisited_scores
from bict.evaluation.metrics import average_precision, average_precision_at, mean, recall_at
from bict.evaluation.mixing import fused, rank_merged
from bict.evaluation.ranking import Listed, PositiveRanks, nearest, positive_ranks
from bict.evaluation.significance import (
    PairedDifference,
    bootstrap_interval,
    paired_bootstrap,
    significance_marks,
)
from bict.evaluation.strict import StrictCriterion, strict_criterion
from bict.evaluation.summary import PairResult, evaluate_pair
from bict.evaluation.verification import TrueAcceptRate, true_accept_rate

__all__ = [
    "BACKFILL_RATIOS",
    "BackfillCurve",
    "CompatibilityMatrix",
    "Flips",
    "ForwardCriterion",
    "LandmarkScore",
    "Listed",
    "PairResult",
    "PairedDifference",
    "PositiveRanks",
    "RevisitedTruth",
    "Score",
    "ScoreGap",
    "StrictCriterion",
    "TrueAcceptRate",
    "average_precision",
    "average_precision_at",
    "backfilled_rows",
    "bootstrap_interval",
    "compatibility_tax",
    "empirical_criterion",
    "evaluate_pair",
    "farthest_first",
    "flip_rates",
    "forward_criterion",
    "fused",
    "landmark_scores",
    "mean",
    "mixed_gallery",
    "nearest",
    "p_1",
    "p_comp",
    "p_up",
    "paired_bootstrap",
    "positive_ranks",
    "random_order",
    "rank_merged",
    "recall_at",
    "recovered_share",
    "relative_compatibility_tax",
    "revisited_scores",
    "score_gap",
    "significance_marks",
    "strict_criterion",
    "true_accept_rate",
    "uncertain_first",
    "update_gain",
]
