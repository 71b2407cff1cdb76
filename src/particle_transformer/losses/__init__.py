"""Weighted losses, and the weights they take.

`particle_transformer.losses.functions` imports torch; `particle_transformer.losses.weights` only
numpy.
"""

from particle_transformer.losses.weights import training_weights

__all__ = ["training_weights"]
