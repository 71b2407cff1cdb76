"""Simulation of collisions with Pythia 8 and FastJet: events with known truth to train on.

Nothing here imports Pythia or FastJet before something is simulated; they come with the extra
``sim``.
"""

from particle_transformer.simulation.detector import Detector
from particle_transformer.simulation.processes import PROCESSES, GeneratorFilter, Process
from particle_transformer.simulation.run import simulate

__all__ = ["PROCESSES", "Detector", "GeneratorFilter", "Process", "simulate"]
