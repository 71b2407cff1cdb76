"""Weighted losses, penalties on dependence, and the training weights they take.

Importing this package or `particle_transformer.losses.weights` takes numpy alone, every other
module of it torch.
"""

from particle_transformer.losses.weights import TrainingWeights, training_weights

__all__ = ["TrainingWeights", "training_weights"]
