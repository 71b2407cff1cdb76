"""x → base + γ ⊙ A(LN(x)): attention of the objects of an event."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import WeightSlope, factor_dtype
from particle_transformer.model.kernels import attention, rows

__all__ = ["fused_attention"]


def fused_attention(
    x: Tensor,
    base: Tensor | None,
    norm: torch.nn.LayerNorm,
    query_key_value: torch.nn.Linear,
    out: tuple[Tensor, Tensor],
    bias: Tensor | None,
    events: attention.EventRows,
    heads: int,
) -> Tensor:
    """Base + A(LN(x)).

    Parameters
    ----------
    x
        (objects, width_in).
    base
        (objects, width_out); None for `x`.
    norm, query_key_value
        The first layers of the branch.
    out
        Weights (width_out, width_out) and biases of the last, both times γ.
    bias
        (pairs, heads), or None.
    events
        Which objects and pairs belong together.
    heads
        Attention heads.

    Returns
    -------
    Tensor
        (objects, width_out), of the dtype of `x`.
    """
    assert query_key_value.bias is not None
    result: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        x, base, norm.weight, norm.bias, query_key_value.weight, query_key_value.bias, *out, bias,
        norm.eps, events, heads, factor_dtype(x),
    )  # fmt: skip
    return result


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        base: Tensor | None,
        gain: Tensor,
        shift: Tensor,
        weight: Tensor,
        added: Tensor,
        out_weight: Tensor,
        out_added: Tensor,
        bias: Tensor | None,
        epsilon: float,
        events: attention.EventRows,
        heads: int,
        dtype: torch.dtype,
    ) -> Tensor:
        x = x.contiguous()
        below = x if base is None else base.contiguous()
        weight, out_weight = weight.to(dtype), out_weight.to(dtype)
        bias = None if bias is None else bias.to(dtype).contiguous()
        kept = any(ctx.needs_input_grad)
        width = len(out_weight)
        projected = x.new_empty(len(x) if kept else 0, 3 * width, dtype=dtype)
        statistics = x.new_empty(len(x), 2)
        total = torch.empty_like(below)
        longest = events.longest_part
        normed = x.new_empty(longest, x.shape[1], dtype=dtype)
        before = x.new_empty(0 if kept else longest, 3 * width, dtype=dtype)
        attended, branch = (x.new_empty(longest, width, dtype=dtype) for _ in range(2))
        with torch.autocast("cpu", enabled=False):
            first, last = weight.t(), out_weight.t()
            for event_part, part in events.parts:
                n = part.stop - part.start
                norm, found, after = normed[:n], attended[:n], branch[:n]
                inner = projected[part] if kept else before[:n]
                rows.layer_norm(x[part], gain, shift, epsilon, norm, statistics[part])
                torch.mm(norm, first, out=inner)  # (n, 3 × width)
                attention.attend(inner, added, events, event_part, bias, heads, found)
                torch.mm(found, last, out=after)  # (n, width)
                rows.add_residual(below[part], after, out_added, total[part])
        ctx.save_for_backward(
            x, gain, shift, weight, added, out_weight, bias, projected, statistics
        )
        ctx.events, ctx.heads, ctx.through = events, heads, base is None
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, shift, weight, added, out_weight, bias, projected, statistics = ctx.saved_tensors
        events: attention.EventRows = ctx.events
        slope = slope.contiguous()
        dtype, width = projected.dtype, len(out_weight)
        x_slope = torch.empty_like(x)
        norm_sums = x.new_zeros(3, x.shape[1])  # of gain, of shift, of what is added last
        last_slope = x.new_zeros(width)
        added_slope = torch.zeros_like(added)
        weight_slope, out_slope = WeightSlope(weight, x.dtype), WeightSlope(out_weight, x.dtype)
        bias_slope = None if bias is None else torch.empty_like(bias)
        longest = events.longest_part
        normed, normed_slope = (x.new_empty(longest, x.shape[1], dtype=dtype) for _ in range(2))
        attended, attended_slope = (x.new_empty(longest, width, dtype=dtype) for _ in range(2))
        inner_slope = x.new_empty(longest, 3 * width, dtype=dtype)
        for event_part, part in events.parts:
            n = part.stop - part.start
            found, found_slope, steep, norm, norm_slope = (
                buffer[:n]
                for buffer in (attended, attended_slope, inner_slope, normed, normed_slope)
            )
            x_part, moments, slope_part = x[part], statistics[part], slope[part]
            factor = slope_part.to(dtype)  # (n, width)
            torch.mm(factor, out_weight, out=found_slope)
            attention.attend_backward(
                projected[part], added, found_slope, events, event_part, bias, ctx.heads, found,
                steep, bias_slope, added_slope,
            )  # fmt: skip
            out_slope.add(factor, found)
            torch.mm(steep, weight, out=norm_slope)  # (n, width_in)
            rows.layer_norm_again(x_part, moments, gain, shift, norm)
            weight_slope.add(steep, norm)
            through = slope_part if ctx.through else None
            rows.layer_norm_backward(
                x_part, moments, gain, norm_slope, through, x_slope[part], norm_sums
            )
            if through is None:
                rows.add_rows(slope_part, last_slope)
        gain_slope, shift_slope, through_slope = norm_sums
        return (
            x_slope, None if ctx.through else slope, gain_slope, shift_slope, weight_slope.sum,
            added_slope, out_slope.sum, through_slope if ctx.through else last_slope,
            None if bias_slope is None else bias_slope.to(x.dtype), None, None, None, None,
        )  # fmt: skip
