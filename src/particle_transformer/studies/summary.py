"""What Optuna's study says, in plain numbers and texts."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from particle_transformer.config import Range
from particle_transformer.studies.results import StudyResult, TrialRecord

if TYPE_CHECKING:
    from pathlib import Path

    from optuna import Study
    from optuna.trial import FrozenTrial

    from particle_transformer.config import Analysis

__all__ = ["best_of", "summary"]

_TRIALS_OF_IMPORTANCE = 10
"""Complete trials below which nothing is said on what matters: the sampler's random ones."""


def summary(study: Study, analysis: Analysis, path: Path) -> StudyResult:
    """All trials that were begun, and which keys matter.

    Parameters
    ----------
    study
        The study.
    analysis
        The analysis, with its search space.
    path
        The study's folder.
    """
    space = analysis.tuning.space
    return StudyResult(
        path,
        [_record(trial) for trial in study.get_trials(deepcopy=False) if trial.params],
        _importance(study),
        {key: entry.log for key, entry in space.items() if isinstance(entry, Range)},
    )


def best_of(study: Study) -> TrialRecord | None:
    """The complete trial of the lowest loss so far; the first of equal ones."""
    complete = _complete(study)
    best = min(complete, key=lambda trial: (trial.value, trial.number), default=None)
    return None if best is None else _record(best)


def _complete(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _record(trial: FrozenTrial) -> TrialRecord:
    reported = trial.intermediate_values
    last = reported[max(reported)] if reported else None
    attributes: dict[str, Any] = trial.user_attrs
    return TrialRecord(
        trial.number,
        trial.state.name.lower(),
        trial.value if trial.state == TrialState.COMPLETE else last,
        len(reported),
        attributes.get("best_epochs", ()),
        None if trial.duration is None else round(trial.duration.total_seconds(), 2),
        attributes.get("worker", ""),
        attributes.get("reason", ""),
        trial.params,
    )


def _importance(study: Study) -> dict[str, float]:
    """PED-ANOVA (arXiv:2304.10255)."""
    if len(_complete(study)) < _TRIALS_OF_IMPORTANCE:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # before Optuna 5
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}
