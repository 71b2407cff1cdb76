"""Linear layers with GELU between them, as in the embedding of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import WeightSlope, factor_dtype, room, split
from particle_transformer.model.kernels import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fused_layers"]


def fused_layers(x: Tensor, layers: Sequence[torch.nn.Linear], added: Tensor | float) -> Tensor:
    """W₃ gelu(W₂ gelu(W₁ x + b₁) + b₂) + b₃ + added, for any number of layers.

    Parameters
    ----------
    x
        (rows, features).
    layers
        W and b of each.
    added
        (width of the last layer,), or a number.

    Returns
    -------
    Tensor
        (rows, width of the last layer), of the dtype of `x`.
    """
    *inner, last = layers
    weights = [layer.weight for layer in layers]
    shifts = [*(layer.bias for layer in inner), last.bias + added]
    result: Tensor = _Layers.apply(x, factor_dtype(x), *weights, *shifts)  # type: ignore[no-untyped-call]
    return result


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        x = x.contiguous()
        depth = len(parameters) // 2
        weights = [weight.to(dtype) for weight in parameters[:depth]]
        shifts = parameters[depth:]
        kept = any(ctx.needs_input_grad)
        hidden = [
            x.new_empty(len(x), len(weight), dtype=dtype) if kept else room(x, len(weight), dtype)
            for weight in weights[:-1]
        ]
        active = [room(x, len(weight), dtype) for weight in weights]
        result = x.new_empty(len(x), len(weights[-1]))
        with torch.autocast("cpu", enabled=False):
            start = 0
            for x_part, result_part in zip(*split(x, result), strict=True):
                n = len(x_part)
                below = x_part.to(dtype)  # (n, features)
                for weight, shift, before, after in zip(
                    weights, shifts, hidden, active, strict=False
                ):
                    inner = before[start : start + n] if kept else before[:n]
                    torch.mm(below, weight.t(), out=inner)
                    below = after[:n]
                    rows.gelu(inner, shift, below)
                torch.mm(below, weights[-1].t(), out=active[-1][:n])
                torch.add(active[-1][:n], shifts[-1], out=result_part)
                start += n
        ctx.save_for_backward(x, *weights, *shifts, *hidden)
        ctx.depth = depth
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        depth = ctx.depth
        weights, shifts, hidden = saved[:depth], saved[depth : 2 * depth], saved[2 * depth :]
        slope = slope.contiguous()
        dtype = weights[0].dtype
        wanted = ctx.needs_input_grad[0]
        x_slope = torch.empty_like(x) if wanted else None
        weight_slopes = [WeightSlope(weight, x.dtype) for weight in weights]
        shift_slopes = [torch.zeros_like(shift) for shift in shifts]
        active = [room(x, len(weight), dtype) for weight in weights[:-1]]
        steep = [room(x, len(weight), dtype) for weight in weights[:-1]]
        start = 0
        for x_part, slope_part in zip(*split(x, slope), strict=True):
            n = len(x_part)
            rows.add_rows(slope_part, shift_slopes[-1])
            above = slope_part.to(dtype)  # (n, width of the layer)
            for k in range(depth - 1, 0, -1):
                below, below_slope = active[k - 1][:n], steep[k - 1][:n]
                torch.mm(above, weights[k], out=below_slope)
                inner = hidden[k - 1][start : start + n]
                rows.gelu_backward(inner, shifts[k - 1], below_slope, below, shift_slopes[k - 1])
                weight_slopes[k].add(above, below)
                above = below_slope
            weight_slopes[0].add(above, x_part.to(dtype))
            if x_slope is not None:
                x_slope[start : start + n] = torch.mm(above, weights[0])
            start += n
        return (x_slope, None, *(weight.sum for weight in weight_slopes), *shift_slopes)
