"""Residual branches on CPUs, a few rows at a time.

The plain modules write every intermediate result of a batch to memory and read it again. Here some
hundred rows go through a whole branch while they stay in the cores' caches, and what the backward
pass can compute again without a matrix product is not kept: of a branch only its input, what comes
out of its first product, and two numbers per row.

x → base + γ ⊙ A(LN(x)) and x → x + γ ⊙ F(LN(x)); γ is in the weights of the last layer already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.kernels import attention, rows, usable
from particle_transformer.model.kernels.attention import ROWS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["can_fuse", "fused_attention", "fused_feedforward"]


def _factor_dtype(x: Tensor) -> torch.dtype:
    """Dtype of the factors of matrix products: that of `x`, or autocast's."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def can_fuse(x: Tensor) -> bool:
    """Whether the functions of this module work on rows like `x`, here and now."""
    return (
        not torch.compiler.is_compiling()
        and x.dtype in (torch.float32, torch.float64)
        and _factor_dtype(x) in (x.dtype, torch.bfloat16)
        and usable(x)
    )


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
        norm.eps, events, heads, _factor_dtype(x),
    )  # fmt: skip
    return result


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
        x, norm.weight, norm.bias, hidden.weight, hidden.bias, *out, norm.eps, _factor_dtype(x)
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
        many, wide = x.shape[0], weight.shape[0]
        hidden = x.new_empty(many if kept else 0, wide, dtype=dtype)
        statistics = x.new_empty(many, 2)
        total = torch.empty_like(x)
        normed, branch = (_part(x, x.shape[1], dtype) for _ in range(2))
        before, activated = (_part(x, wide, dtype) for _ in range(2))
        with torch.autocast("cpu", enabled=False):
            for part in _parts(many):
                n = part.stop - part.start
                x_part, normed_part, active, after = x[part], normed[:n], activated[:n], branch[:n]
                inner = hidden[part] if kept else before[:n]
                rows.layer_norm(x_part, gain, shift, epsilon, normed_part, statistics[part])
                torch.mm(normed_part, weight.t(), out=inner)  # (n, hidden width)
                rows.gelu(inner, added, active)
                torch.mm(active, out_weight.t(), out=after)  # (n, width)
                rows.add_residual(x_part, after, out_added, total[part])
        ctx.save_for_backward(x, gain, shift, weight, added, out_weight, hidden, statistics)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, shift, weight, added, out_weight, hidden, statistics = ctx.saved_tensors
        slope = slope.contiguous()
        dtype = hidden.dtype
        wide = weight.shape[0]
        x_slope = torch.empty_like(x)
        norm_sums = x.new_zeros(2, x.shape[1])  # of gain, of shift
        last_slope = x.new_zeros(x.shape[1])
        added_slope = torch.zeros_like(added)
        weight_slope = x.new_zeros(weight.shape)
        out_slope = x.new_zeros(out_weight.shape)
        normed, normed_slope = (_part(x, x.shape[1], dtype) for _ in range(2))
        activated, inner_slope = (_part(x, wide, dtype) for _ in range(2))
        for part in _parts(x.shape[0]):
            n = part.stop - part.start
            factor = slope[part].to(dtype)  # (n, width)
            torch.mm(factor, out_weight, out=inner_slope[:n])  # (n, hidden width)
            rows.gelu_backward(hidden[part], added, inner_slope[:n], activated[:n], added_slope)
            _add_product(out_slope, factor, activated[:n])
            torch.mm(inner_slope[:n], weight, out=normed_slope[:n])  # (n, width)
            rows.layer_norm_again(x[part], statistics[part], gain, shift, normed[:n])
            _add_product(weight_slope, inner_slope[:n], normed[:n])
            rows.layer_norm_backward(
                x[part], statistics[part], gain, normed_slope[:n], slope[part], x_slope[part],
                norm_sums,
            )  # fmt: skip
            rows.add_rows(slope[part], last_slope)
        return (x_slope, *norm_sums, weight_slope, added_slope, out_slope, last_slope, None, None)


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
        many, width = x.shape[0], out_weight.shape[0]
        projected = x.new_empty(many if kept else 0, 3 * width, dtype=dtype)
        statistics = x.new_empty(many, 2)
        total = torch.empty_like(below)
        longest = events.longest_part
        normed = x.new_empty(longest, x.shape[1], dtype=dtype)
        before = x.new_empty(0 if kept else longest, 3 * width, dtype=dtype)
        attended, branch = (x.new_empty(longest, width, dtype=dtype) for _ in range(2))
        with torch.autocast("cpu", enabled=False):
            for event_part, part in events.parts:
                n = part.stop - part.start
                inner = projected[part] if kept else before[:n]
                rows.layer_norm(x[part], gain, shift, epsilon, normed[:n], statistics[part])
                torch.mm(normed[:n], weight.t(), out=inner)  # (n, 3 × width)
                attention.attend(inner, added, events, event_part, bias, heads, attended[:n])
                torch.mm(attended[:n], out_weight.t(), out=branch[:n])  # (n, width)
                rows.add_residual(below[part], branch[:n], out_added, total[part])
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
        dtype, width = projected.dtype, out_weight.shape[0]
        x_slope = torch.empty_like(x)
        norm_sums = x.new_zeros(2, x.shape[1])
        last_slope = x.new_zeros(width)
        added_slope = torch.zeros_like(added)
        weight_slope = x.new_zeros(weight.shape)
        out_slope = x.new_zeros(out_weight.shape)
        bias_slope = None if bias is None else torch.empty_like(bias)
        longest = events.longest_part
        normed, normed_slope = (x.new_empty(longest, x.shape[1], dtype=dtype) for _ in range(2))
        attended, attended_slope = (x.new_empty(longest, width, dtype=dtype) for _ in range(2))
        inner_slope = x.new_empty(longest, 3 * width, dtype=dtype)
        for event_part, part in events.parts:
            n = part.stop - part.start
            factor = slope[part].to(dtype)  # (n, width)
            torch.mm(factor, out_weight, out=attended_slope[:n])
            attention.attend_backward(
                projected[part], added, attended_slope[:n], events, event_part, bias, ctx.heads,
                attended[:n], inner_slope[:n], bias_slope, added_slope,
            )  # fmt: skip
            _add_product(out_slope, factor, attended[:n])
            torch.mm(inner_slope[:n], weight, out=normed_slope[:n])  # (n, width_in)
            rows.layer_norm_again(x[part], statistics[part], gain, shift, normed[:n])
            _add_product(weight_slope, inner_slope[:n], normed[:n])
            rows.layer_norm_backward(
                x[part], statistics[part], gain, normed_slope[:n],
                slope[part] if ctx.through else None, x_slope[part], norm_sums,
            )  # fmt: skip
            rows.add_rows(slope[part], last_slope)
        return (
            x_slope, None if ctx.through else slope, *norm_sums, weight_slope, added_slope,
            out_slope, last_slope, None if bias_slope is None else bias_slope.to(x.dtype),
            None, None, None, None,
        )  # fmt: skip


def _parts(many: int) -> Iterator[slice]:
    for start in range(0, many, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, many))


def _part(x: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Room for the rows of a part."""
    return x.new_empty(min(ROWS_AT_ONCE, x.shape[0]), width, dtype=dtype)


def _add_product(total: Tensor, slopes: Tensor, factors: Tensor) -> None:
    """Total (out, in) += slopes (n, out) transposed · factors (n, in)."""
    if total.dtype == slopes.dtype:
        torch.addmm(total, slopes.t(), factors, out=total)
    else:  # a sum of many parts in bfloat16 would lose the small ones
        total += torch.mm(slopes.t(), factors)
