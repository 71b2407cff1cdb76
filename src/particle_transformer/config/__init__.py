"""The analysis file: one YAML file describes an analysis, validated before any data is opened."""

from particle_transformer.config.analysis import (
    DATA,
    PREPARED_SECTIONS,
    SIGNAL,
    Analysis,
    analysis_fingerprint,
)
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

__all__ = [
    "DATA",
    "PREPARED_SECTIONS",
    "SIGNAL",
    "Analysis",
    "Collection",
    "Era",
    "Evaluation",
    "EventFeatures",
    "Model",
    "Process",
    "Region",
    "Source",
    "Training",
    "analysis_fingerprint",
    "dump_analysis",
    "load_analysis",
    "parse_analysis",
]
