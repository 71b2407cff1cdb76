"""The analysis file: one YAML file describes an analysis, validated before any data is opened."""

from particle_transformer.config.analysis import (
    PREPARED_SECTIONS,
    Analysis,
    analysis_fingerprint,
)
from particle_transformer.config.comparison import Comparison, DeepSets, Dense, Part, Trees
from particle_transformer.config.corrections import Correction, CorrectionLookup
from particle_transformer.config.evaluation import Evaluation, Limit
from particle_transformer.config.load import dump_analysis, load_analysis, parse_analysis
from particle_transformer.config.loggers import Logger
from particle_transformer.config.objectives import DisCo, DoubleDisCo, Loss, Regression
from particle_transformer.config.sections import (
    Collection,
    Era,
    EventFeatures,
    Model,
    Process,
    Region,
    Source,
)
from particle_transformer.config.symmetries import FeatureSymmetries, feature_symmetries
from particle_transformer.config.training import Training
from particle_transformer.config.tuning import Choices, Range, Tuning, choice_label
from particle_transformer.config.tuning_checks import with_space, with_values
from particle_transformer.config.types import PRETRAINED
from particle_transformer.config.variations import Variation
from particle_transformer.config.varied import Varied

__all__ = [
    "PREPARED_SECTIONS",
    "PRETRAINED",
    "Analysis",
    "Choices",
    "Collection",
    "Comparison",
    "Correction",
    "CorrectionLookup",
    "DeepSets",
    "Dense",
    "DisCo",
    "DoubleDisCo",
    "Era",
    "Evaluation",
    "EventFeatures",
    "FeatureSymmetries",
    "Limit",
    "Logger",
    "Loss",
    "Model",
    "Part",
    "Process",
    "Range",
    "Region",
    "Regression",
    "Source",
    "Training",
    "Trees",
    "Tuning",
    "Variation",
    "Varied",
    "analysis_fingerprint",
    "choice_label",
    "dump_analysis",
    "feature_symmetries",
    "load_analysis",
    "parse_analysis",
    "with_space",
    "with_values",
]
