"""x → base + γ ⊙ A(LN(x)): attention of the objects of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import draw_seed, factor_dtype, like_rows
from particle_transformer.model.kernels import call_kernel

if TYPE_CHECKING:
    from particle_transformer.model.fused.parts import EventRows

__all__ = ["fused_attention"]


def fused_attention(
    x: Tensor,
    base: Tensor | None,
    norm: torch.nn.LayerNorm,
    query_key_value: torch.nn.Linear,
    out: tuple[Tensor, Tensor],
    bias: Tensor | None,
    events: EventRows,
    heads: int,
    dropout: float,
) -> Tensor:
    """Rows after the branch.

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
    dropout
        Probability, on attention weights and on the result.

    Returns
    -------
    Tensor
        (objects, width_out), of the dtype of `x`.
    """
    result: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        x, base, norm.weight, norm.bias, query_key_value.weight, query_key_value.bias, *out, bias,
        norm.eps, events, heads, float(dropout), factor_dtype(x), torch.is_grad_enabled(),
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
        events: EventRows,
        heads: int,
        dropout: float,
        dtype: torch.dtype,
        keep: bool,
    ) -> Tensor:
        x = x.contiguous()
        gain, shift, added, out_added = like_rows(x, gain, shift, added, out_added)
        (below,) = like_rows(x, x if base is None else base)
        weight, out_weight = weight.to(dtype).contiguous(), out_weight.to(dtype).contiguous()
        bias = None if bias is None else bias.to(dtype).contiguous()
        rows, width = len(x), len(out_weight)
        kept = (
            x.new_empty(rows, 3 * width, dtype=dtype)
            if keep and any(ctx.needs_input_grad)
            else None
        )
        statistics, total = x.new_empty(rows, 2), torch.empty_like(below)
        where = (events.offsets, events.pair_offsets, events.edges)
        sizes = (len(events.edges) - 1, events.longest, x.shape[1], heads, width // heads)
        chance = (dropout, draw_seed(dropout), draw_seed(dropout))
        call_kernel(
            "attention",
            [x, below, gain, shift, weight, added, out_weight, out_added, bias, *where],
            [*sizes, epsilon, *chance], [kept, statistics, total], like=weight,
        )  # fmt: skip
        ctx.save_for_backward(x, gain, shift, weight, added, out_weight, bias, kept, statistics)
        ctx.where, ctx.through = where, base is None
        ctx.numbers = (*sizes, int(ctx.through), *chance)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, _gain, _shift, weight, added, out_weight, bias, _kept, _statistics = ctx.saved_tensors
        slope = slope.contiguous()
        x_slope, added_slope = torch.empty_like(x), torch.empty_like(added)
        norm_slopes, out_added_slope = x.new_empty(2, x.shape[1]), x.new_empty(len(out_weight))
        weight_slope, out_slope = x.new_empty(weight.shape), x.new_empty(out_weight.shape)
        bias_slope = None if bias is None else torch.empty_like(bias)
        call_kernel(
            "attention_backward", [slope, *ctx.saved_tensors, *ctx.where], ctx.numbers,
            [
                x_slope, norm_slopes, weight_slope, added_slope, out_slope, out_added_slope,
                bias_slope,
            ],
            like=weight,
        )  # fmt: skip
        return (
            x_slope, None if ctx.through else slope, *norm_slopes, weight_slope, added_slope,
            out_slope, out_added_slope, None if bias_slope is None else bias_slope.to(x.dtype),
            None, None, None, None, None, None,
        )  # fmt: skip
