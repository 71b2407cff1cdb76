"""Attention of short events, and whole branches of the network, on CPUs, in C.

The source is compiled at first use, for the processor at hand. Where there is no compiler a warning
says so, and `particle_transformer.model.attention` computes the same with PyTorch's own operations.
"""

from particle_transformer.model.kernels.blas import has_product
from particle_transformer.model.kernels.calls import call_kernel, usable
from particle_transformer.model.kernels.ops import attend, attend_from_class

__all__ = ["attend", "attend_from_class", "call_kernel", "has_product", "usable"]
