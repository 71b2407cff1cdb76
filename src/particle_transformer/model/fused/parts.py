"""Which rows a thread takes at once, and when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from particle_transformer.model import kernels
from particle_transformer.model.linear import ScaledLinear

__all__ = ["EventRows", "can_fuse", "draw_seed", "factor_dtype", "like_rows", "rows_at_once"]

_LARGEST_PART = 128
"""Rows whose intermediate results fit into the second-level cache of a core."""


def factor_dtype(x: Tensor) -> torch.dtype:
    """Dtype of the factors of matrix products: that of `x`, or autocast's, which is for float32."""
    if x.dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return x.dtype


def can_fuse(x: Tensor, *modules: nn.Module) -> bool:
    """Whether the fused branches may do the work of `modules` on rows like `x`, here and now."""
    return (
        not torch.compiler.is_compiling()
        and kernels.usable(x)
        and x.dtype != torch.bfloat16  # a residual stream of 8 bits is the user's own wish
        and factor_dtype(x) in (x.dtype, torch.bfloat16)
        and kernels.has_product(factor_dtype(x))
        and all(map(_is_plain, modules))
        and not torch._C._is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def _is_plain(module: nn.Module) -> bool:
    """Whether a module does what its class does: quantised, pruned and hooked ones do not."""
    return type(module) in (nn.Linear, nn.LayerNorm, ScaledLinear) and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def rows_at_once(rows: int) -> int:
    """Rows of a part, so that all threads get as many parts."""
    threads = torch.get_num_threads()
    rounds = -(-rows // (threads * _LARGEST_PART))
    even = -(-rows // max(1, 2 * threads * rounds))
    return max(2, 2 * even)  # an even number keeps the buffers aligned


def like_rows(x: Tensor, *others: Tensor) -> list[Tensor]:
    """`others` as the compiled functions read them: of the dtype of `x`, end to end."""
    return [other.to(x.dtype).contiguous() for other in others]


def draw_seed(dropout: float) -> int:
    """A number of PyTorch's generator, so that the user's seed decides the dropout."""
    return int(torch.randint(2**62, ())) if dropout > 0 else 0


@dataclass(frozen=True)
class EventRows:
    """Which rows and pairs belong to which event, and how a batch is cut into parts.

    Attributes
    ----------
    offsets
        int64 (events + 1,): rows of each event.
    pair_offsets
        int64 (events + 1,): pairs of each event.
    """

    offsets: Tensor
    pair_offsets: Tensor

    @cached_property
    def edges(self) -> Tensor:
        """int64 (parts + 1,): the first event of each part, and behind the last."""
        rows = int(self.offsets[-1])
        device = self.offsets.device
        starts = torch.arange(0, rows, rows_at_once(rows), device=device)
        events = torch.searchsorted(self.offsets, starts).tolist()
        return torch.tensor(sorted({0, *events, len(self.offsets) - 1}), device=device)

    @cached_property
    def longest(self) -> int:
        """At least the rows of the longest part."""
        rows = self.offsets[self.edges].diff()
        return _rounded(int(rows.max())) if len(rows) else 0


def _rounded(rows: int) -> int:
    """Up to a multiple of 16, which keeps the buffers aligned."""
    return max(16, -(-rows // 16) * 16)
