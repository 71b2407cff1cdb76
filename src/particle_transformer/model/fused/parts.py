"""What the fused branches share: parts of rows, dtypes, gradients of weights."""

from __future__ import annotations

import torch
from torch import Tensor

from particle_transformer.model.kernels import usable
from particle_transformer.model.kernels.attention import ROWS_AT_ONCE

__all__ = ["WeightSlope", "can_fuse", "factor_dtype", "room", "split"]


def factor_dtype(x: Tensor) -> torch.dtype:
    """Dtype of the factors of matrix products: that of `x`, or autocast's."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def can_fuse(x: Tensor) -> bool:
    """Whether the fused branches work on rows like `x`, here and now."""
    return (
        not torch.compiler.is_compiling()
        and x.dtype in (torch.float32, torch.float64)
        and factor_dtype(x) in (x.dtype, torch.bfloat16)
        and usable(x)
    )


def split(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """The rows of each part, for each tensor."""
    return [torch.split(tensor, ROWS_AT_ONCE) for tensor in tensors]


def room(x: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Room for the rows of a part."""
    return x.new_empty(min(ROWS_AT_ONCE, len(x)), width, dtype=dtype)


class WeightSlope:
    """Σ slopesᵀ · factors over parts, the gradient of a weight (out, in).

    The longer side of the sum is that of its rows: products of that form are the faster ones.
    """

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self._turned = weight.shape[0] > weight.shape[1]
        shape = weight.shape[::-1] if self._turned else weight.shape
        self._sum = weight.new_zeros(shape, dtype=dtype)

    def add(self, slopes: Tensor, factors: Tensor) -> None:
        """Add a part: `slopes` (n, out), `factors` (n, in)."""
        left, right = (factors, slopes) if self._turned else (slopes, factors)
        if self._sum.dtype == left.dtype:
            torch.addmm(self._sum, left.t(), right, out=self._sum)
        else:  # a sum of many parts in bfloat16 would lose the small ones
            self._sum += torch.mm(left.t(), right)

    @property
    def sum(self) -> Tensor:
        """(out, in)."""
        return self._sum.t() if self._turned else self._sum
