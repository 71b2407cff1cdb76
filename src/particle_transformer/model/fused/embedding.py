"""Three linear layers with GELU between them: the embedding of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import factor_dtype, like_rows, rows_at_once
from particle_transformer.model.kernels import call_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fused_layers"]


def fused_layers(x: Tensor, layers: Sequence[torch.nn.Linear], added: Tensor | float) -> Tensor:
    """W₃ gelu(W₂ gelu(W₁ x + b₁) + b₂) + b₃ + added.

    Parameters
    ----------
    x
        (rows, features).
    layers
        W and b of the three, all of one width.
    added
        (width,), or a number.

    Returns
    -------
    Tensor
        (rows, width), of the dtype of `x`.
    """
    weights = [layer.weight for layer in layers]
    first, second, last = (layer.bias for layer in layers)
    result: Tensor = _Layers.apply(  # type: ignore[no-untyped-call]
        x, *weights, first, second, last + added, factor_dtype(x), torch.is_grad_enabled()
    )
    return result


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight1: Tensor,
        weight2: Tensor,
        weight3: Tensor,
        added1: Tensor,
        added2: Tensor,
        added3: Tensor,
        dtype: torch.dtype,
        keep: bool,
    ) -> Tensor:
        x = x.contiguous()
        added1, added2, added3 = like_rows(x, added1, added2, added3)
        weights = [weight.to(dtype).contiguous() for weight in (weight1, weight2, weight3)]
        rows, width = len(x), len(weight1)
        wanted = keep and any(ctx.needs_input_grad)
        kept = [x.new_empty(rows, width, dtype=dtype) if wanted else None for _ in range(2)]
        total = x.new_empty(rows, width)
        sizes = (rows, x.shape[1], width, rows_at_once(rows))
        call_kernel(
            "layers", [x, *weights, added1, added2, added3], sizes, [*kept, total],
            like=weights[0],
        )  # fmt: skip
        ctx.save_for_backward(x, *weights, added1, added2, *kept)
        ctx.sizes = sizes
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, *rest = ctx.saved_tensors
        weights = rest[:3]
        x_slope = x.new_empty(x.shape) if ctx.needs_input_grad[0] else None
        weight_slopes = [x.new_empty(weight.shape) for weight in weights]
        added_slopes = [x.new_empty(len(weight)) for weight in weights]
        call_kernel(
            "layers_backward", [slope.contiguous(), *ctx.saved_tensors], ctx.sizes,
            [x_slope, *weight_slopes, *added_slopes], like=weights[0],
        )  # fmt: skip
        return (x_slope, *weight_slopes, *added_slopes, None, None)
