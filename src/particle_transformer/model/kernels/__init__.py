"""Attention of short events on CPUs, in C.

The source is compiled at first use, for the processor at hand. Where there is no compiler a warning
says so, and `particle_transformer.model.attention` computes the same with PyTorch's own operations.
"""

from particle_transformer.model.kernels.calls import usable
from particle_transformer.model.kernels.ops import attend, attend_from_class

__all__ = ["attend", "attend_from_class", "usable"]
