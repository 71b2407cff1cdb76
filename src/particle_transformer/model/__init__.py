"""The AnalysisObjectTransformer: torch only, usable without the rest of the package."""

from particle_transformer.model.event_network import EventNetwork
from particle_transformer.model.heads import Outputs
from particle_transformer.model.scaling import ScalingFit, fit_scaling
from particle_transformer.model.transformer import AnalysisObjectTransformer

__all__ = ["AnalysisObjectTransformer", "EventNetwork", "Outputs", "ScalingFit", "fit_scaling"]
