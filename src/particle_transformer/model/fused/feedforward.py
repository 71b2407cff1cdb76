"""x → x + γ ⊙ F(LN(x)): a feed-forward network of one hidden layer."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import WeightSlope, factor_dtype, room, split
from particle_transformer.model.kernels import rows
from particle_transformer.model.kernels.attention import ROWS_AT_ONCE

__all__ = ["fused_feedforward"]


def fused_feedforward(
    x: Tensor, norm: torch.nn.LayerNorm, hidden: torch.nn.Linear, out: tuple[Tensor, Tensor]
) -> Tensor:
    """X + F(LN(x)) with one hidden layer and GELU.

    Parameters
    ----------
    x
        (rows, width).
    norm, hidden
        The first layers of the branch.
    out
        Weights (width, hidden width) and biases of the last, both times γ.

    Returns
    -------
    Tensor
        (rows, width), of the dtype of `x`.
    """
    result: Tensor = _FeedForward.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, hidden.weight, hidden.bias, *out, norm.eps, factor_dtype(x)
    )
    return result


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor,
        shift: Tensor,
        weight: Tensor,
        added: Tensor,
        out_weight: Tensor,
        out_added: Tensor,
        epsilon: float,
        dtype: torch.dtype,
    ) -> Tensor:
        x = x.contiguous()
        weight, out_weight = weight.to(dtype), out_weight.to(dtype)
        kept = any(ctx.needs_input_grad)
        hidden = x.new_empty(len(x) if kept else 0, len(weight), dtype=dtype)
        statistics = x.new_empty(len(x), 2)
        total = torch.empty_like(x)
        normed, branch = (room(x, x.shape[1], dtype) for _ in range(2))
        before, activated = (room(x, len(weight), dtype) for _ in range(2))
        with torch.autocast("cpu", enabled=False):
            first, last = weight.t(), out_weight.t()
            inner_parts = torch.split(hidden, ROWS_AT_ONCE) if kept else repeat(before)
            for x_part, room_for_hidden, moments, sum_part in zip(
                *split(x), inner_parts, *split(statistics, total), strict=False
            ):
                n = len(x_part)
                inner, active = room_for_hidden[:n], activated[:n]
                norm, after = normed[:n], branch[:n]
                rows.layer_norm(x_part, gain, shift, epsilon, norm, moments)
                torch.mm(norm, first, out=inner)  # (n, hidden width)
                rows.gelu(inner, added, active)
                torch.mm(active, last, out=after)  # (n, width)
                rows.add_residual(x_part, after, out_added, sum_part)
        ctx.save_for_backward(x, gain, shift, weight, added, out_weight, hidden, statistics)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, shift, weight, added, out_weight, hidden, statistics = ctx.saved_tensors
        slope = slope.contiguous()
        dtype = hidden.dtype
        x_slope = torch.empty_like(x)
        norm_sums = x.new_zeros(3, x.shape[1])  # of gain, of shift, of what is added last
        added_slope = torch.zeros_like(added)
        weight_slope, out_slope = WeightSlope(weight, x.dtype), WeightSlope(out_weight, x.dtype)
        normed, normed_slope = (room(x, x.shape[1], dtype) for _ in range(2))
        activated, inner_slope = (room(x, len(weight), dtype) for _ in range(2))
        for x_part, inner, moments, slope_part, result in zip(
            *split(x, hidden, statistics, slope, x_slope), strict=True
        ):
            n = len(x_part)
            active, steep, norm, norm_slope = (
                buffer[:n] for buffer in (activated, inner_slope, normed, normed_slope)
            )
            factor = slope_part.to(dtype)  # (n, width)
            torch.mm(factor, out_weight, out=steep)  # (n, hidden width)
            rows.gelu_backward(inner, added, steep, active, added_slope)
            out_slope.add(factor, active)
            torch.mm(steep, weight, out=norm_slope)  # (n, width)
            rows.layer_norm_again(x_part, moments, gain, shift, norm)
            weight_slope.add(steep, norm)
            rows.layer_norm_backward(
                x_part, moments, gain, norm_slope, slope_part, result, norm_sums
            )
        gain_slope, shift_slope, last_slope = norm_sums
        return (
            x_slope, gain_slope, shift_slope, weight_slope.sum, added_slope, out_slope.sum,
            last_slope, None, None,
        )  # fmt: skip
