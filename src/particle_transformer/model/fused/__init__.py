"""Branches of the network on CPUs, compiled: some hundred rows at a time.

The plain modules write every intermediate result of a batch to memory and read it again. Here each
thread takes some hundred rows through a whole branch while they stay in its cache, and what the
backward pass can compute again without a matrix product is not kept: of a residual branch only its
input, what comes out of its first product, and two numbers per row.

γ, the LayerScale, is in the weights of a branch's last layer already (`ScaledLinear.scaled`).
"""

from particle_transformer.model.fused.attention import fused_attention
from particle_transformer.model.fused.class_attention import fused_class_attention
from particle_transformer.model.fused.embedding import fused_layers
from particle_transformer.model.fused.feedforward import fused_feedforward
from particle_transformer.model.fused.parts import EventRows, can_fuse

__all__ = [
    "EventRows",
    "can_fuse",
    "fused_attention",
    "fused_class_attention",
    "fused_feedforward",
    "fused_layers",
]
