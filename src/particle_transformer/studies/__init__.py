"""Studies of an analysis: many trainings, compared with each other.

Importing this loads no Optuna; `tune` needs the extra ``tune``.
"""

from particle_transformer.studies.results import StudyResult, TrialRecord
from particle_transformer.studies.tune import tune

__all__ = ["StudyResult", "TrialRecord", "tune"]
