"""Evaluation: scored events in, figures of merit out.

Everything here computes with numpy and returns numbers; nothing is read, written or drawn.
Weights are the signed physics weights. A figure that the events do not define is an undefined
`Figure` with the reason; it is never clipped or guessed.
"""

from particle_transformer.evaluation.abcd import evaluate_abcd
from particle_transformer.evaluation.binning import (
    Binning,
    BinningRule,
    Labelled,
    optimal_binning,
    optimal_binnings,
)
from particle_transformer.evaluation.bootstrap import RocBand, poisson_bootstrap, roc_band
from particle_transformer.evaluation.calibration import (
    Reliability,
    evaluate_calibration,
    reliability,
)
from particle_transformer.evaluation.correlation import correlation_matrix
from particle_transformer.evaluation.distance_correlation import distance_correlation_squared
from particle_transformer.evaluation.failures import failed_folds
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.fit_regions import BinnedEvents, FitRegion, fit_regions
from particle_transformer.evaluation.fit_summary import evaluate_limit, undefined_limit
from particle_transformer.evaluation.hypotheses import Hypothesis, evaluate_hypotheses
from particle_transformer.evaluation.likelihood import FitResult, Likelihood, workspace_model
from particle_transformer.evaluation.limits import (
    ExpectedLimit,
    expected_limit,
    expected_significance,
)
from particle_transformer.evaluation.metrics import evaluate
from particle_transformer.evaluation.overtraining import (
    KolmogorovSmirnov,
    evaluate_overtraining,
    kolmogorov_smirnov,
)
from particle_transformer.evaluation.ranking import (
    FittedYields,
    Impact,
    Pull,
    before_fit,
    fitted_yields,
    impacts,
    pulls,
)
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
from particle_transformer.evaluation.score_stability import (
    Stability,
    VariedEvents,
    evaluate_stability,
    stability,
)
from particle_transformer.evaluation.scored import ScoredEvents
from particle_transformer.evaluation.sculpting import sculpting
from particle_transformer.evaluation.sensitivity import (
    FitChoices,
    Sensitivity,
    bin_events,
    limit_of,
    limit_of_binned,
    region_bins,
)
from particle_transformer.evaluation.significance import (
    asimov_significance,
    combined_significance,
    optimal_threshold,
)
from particle_transformer.evaluation.slices import (
    SlicedBinning,
    binned_significance,
    optimal_slices,
)
from particle_transformer.evaluation.temperature import (
    CalibrationError,
    calibration_error,
    fit_temperature,
    fold_temperatures,
    with_temperatures,
)
from particle_transformer.evaluation.template import Template
from particle_transformer.evaluation.workspace import Workspace
from particle_transformer.evaluation.workspace import build as build_workspace

__all__ = [
    "BinnedEvents",
    "Binning",
    "BinningRule",
    "CalibrationError",
    "ExpectedLimit",
    "Figure",
    "FitChoices",
    "FitRegion",
    "FitResult",
    "FittedYields",
    "Hypothesis",
    "Impact",
    "KolmogorovSmirnov",
    "Labelled",
    "Likelihood",
    "Pull",
    "Ranking",
    "Reliability",
    "RocBand",
    "RocCurve",
    "ScoredEvents",
    "Sensitivity",
    "SlicedBinning",
    "Stability",
    "Template",
    "VariedEvents",
    "Workspace",
    "asimov_significance",
    "auc",
    "auc_unweighted",
    "before_fit",
    "bias_and_resolution",
    "bin_events",
    "binned_significance",
    "build_workspace",
    "calibration_error",
    "combined_significance",
    "correlation_matrix",
    "distance_correlation_squared",
    "effective_events",
    "efficiency",
    "evaluate",
    "evaluate_abcd",
    "evaluate_calibration",
    "evaluate_hypotheses",
    "evaluate_limit",
    "evaluate_overtraining",
    "evaluate_regression",
    "evaluate_stability",
    "expected_limit",
    "expected_significance",
    "failed_folds",
    "fit_regions",
    "fit_temperature",
    "fitted_yields",
    "fold_temperatures",
    "fold_thresholds",
    "impacts",
    "kolmogorov_smirnov",
    "limit_of",
    "limit_of_binned",
    "optimal_binning",
    "optimal_binnings",
    "optimal_slices",
    "optimal_threshold",
    "passing",
    "poisson_bootstrap",
    "pulls",
    "region_bins",
    "rejection",
    "reliability",
    "roc_band",
    "roc_curve",
    "sculpting",
    "signal_threshold",
    "stability",
    "undefined_limit",
    "with_temperatures",
    "workspace_model",
]
