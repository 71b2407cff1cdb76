"""Simulation of collisions with Pythia 8 and FastJet: events with known truth to train on.

Nothing here imports Pythia or FastJet before something is simulated; they come with the extra
``sim``.
"""

from particle_transformer.simulation.catalogue import PROCESSES
from particle_transformer.simulation.detector import Detector
from particle_transformer.simulation.processes import GeneratorFilter, Process
from particle_transformer.simulation.run import simulate
from particle_transformer.simulation.samples import SAMPLES, Sample

__all__ = [
    "PROCESSES",
    "SAMPLES",
    "Detector",
    "GeneratorFilter",
    "Process",
    "Sample",
    "simulate",
]
