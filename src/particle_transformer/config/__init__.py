"""The analysis file: one YAML file describes an analysis, validated before any data is opened."""

from particle_transformer.config.analysis import (
    PREPARED_SECTIONS,
    Analysis,
    analysis_fingerprint,
)
from particle_transformer.config.corrections import Correction, CorrectionLookup
from particle_transformer.config.load import dump_analysis, load_analysis, parse_analysis
from particle_transformer.config.loggers import Logger
from particle_transformer.config.objectives import DisCo, DoubleDisCo, Loss, Regression
from particle_transformer.config.sections import (
    Collection,
    Era,
    Evaluation,
    EventFeatures,
    Model,
    Process,
    Region,
    Source,
)
from particle_transformer.config.symmetries import FeatureSymmetries, feature_symmetries
from particle_transformer.config.training import Training
from particle_transformer.config.variations import Variation
from particle_transformer.config.varied import Varied

__all__ = [
    "PREPARED_SECTIONS",
    "Analysis",
    "Collection",
    "Correction",
    "CorrectionLookup",
    "DisCo",
    "DoubleDisCo",
    "Era",
    "Evaluation",
    "EventFeatures",
    "FeatureSymmetries",
    "Logger",
    "Loss",
    "Model",
    "Process",
    "Region",
    "Regression",
    "Source",
    "Training",
    "Variation",
    "Varied",
    "analysis_fingerprint",
    "dump_analysis",
    "feature_symmetries",
    "load_analysis",
    "parse_analysis",
]
