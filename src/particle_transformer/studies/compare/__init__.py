"""The network beside other classifiers, on the same events."""

from particle_transformer.studies.compare.methods import METHODS, REFERENCE
from particle_transformer.studies.compare.run import compare

__all__ = ["METHODS", "REFERENCE", "compare"]
