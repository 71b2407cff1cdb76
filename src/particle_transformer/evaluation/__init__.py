"""Evaluation: scored events in, figures of merit out.

Everything here computes with numpy and returns numbers; nothing is read, written or drawn.
Weights are the signed physics weights. A figure that the events do not define is an undefined
`Figure` with the reason; it is never clipped or guessed.
"""

from particle_transformer.evaluation.abcd import evaluate_abcd
from particle_transformer.evaluation.bootstrap import RocBand, poisson_bootstrap, roc_band
from particle_transformer.evaluation.calibration import Reliability, reliability
from particle_transformer.evaluation.correlation import correlation_matrix
from particle_transformer.evaluation.distance_correlation import distance_correlation_squared
from particle_transformer.evaluation.failures import failed_folds
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.hypotheses import Hypothesis, evaluate_hypotheses
from particle_transformer.evaluation.metrics import evaluate
from particle_transformer.evaluation.regression import bias_and_resolution, evaluate_regression
from particle_transformer.evaluation.rejection import (
    efficiency,
    fold_thresholds,
    passing,
    rejection,
    signal_threshold,
)
from particle_transformer.evaluation.roc import (
    Ranking,
    RocCurve,
    auc,
    auc_unweighted,
    roc_curve,
)
from particle_transformer.evaluation.scored import ScoredEvents
from particle_transformer.evaluation.sculpting import sculpting
from particle_transformer.evaluation.significance import asimov_significance, optimal_threshold

__all__ = [
    "Figure",
    "Hypothesis",
    "Ranking",
    "Reliability",
    "RocBand",
    "RocCurve",
    "ScoredEvents",
    "asimov_significance",
    "auc",
    "auc_unweighted",
    "bias_and_resolution",
    "correlation_matrix",
    "distance_correlation_squared",
    "effective_events",
    "efficiency",
    "evaluate",
    "evaluate_abcd",
    "evaluate_hypotheses",
    "evaluate_regression",
    "failed_folds",
    "fold_thresholds",
    "optimal_threshold",
    "passing",
    "poisson_bootstrap",
    "rejection",
    "reliability",
    "roc_band",
    "roc_curve",
    "sculpting",
    "signal_threshold",
]
