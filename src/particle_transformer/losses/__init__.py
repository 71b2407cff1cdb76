"""Weighted losses, and the weights they take.

`particle_transformer.losses.functions` imports torch; `particle_transformer.losses.weights` only
numpy.
"""

from particle_transformer.losses.weights import TrainingWeights, training_weights

__all__ = ["TrainingWeights", "training_weights"]
