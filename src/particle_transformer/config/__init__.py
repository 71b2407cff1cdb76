"""The analysis file: one YAML file describes an analysis, validated before any data is opened."""

from particle_transformer.config.analysis import (
    DATA,
    PREPARED_SECTIONS,
    SIGNAL,
    Analysis,
    analysis_fingerprint,
)
from particle_transformer.config.corrections import Correction, CorrectionLookup
from particle_transformer.config.load import dump_analysis, load_analysis, parse_analysis
from particle_transformer.config.sections import (
    Collection,
    Era,
    Evaluation,
    EventFeatures,
    Model,
    Process,
    Region,
    Source,
    Training,
)
from particle_transformer.config.symmetries import FeatureSymmetries, feature_symmetries
from particle_transformer.config.variations import Variation
from particle_transformer.config.varied import Varied

__all__ = [
    "DATA",
    "PREPARED_SECTIONS",
    "SIGNAL",
    "Analysis",
    "Collection",
    "Correction",
    "CorrectionLookup",
    "Era",
    "Evaluation",
    "EventFeatures",
    "FeatureSymmetries",
    "Model",
    "Process",
    "Region",
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
