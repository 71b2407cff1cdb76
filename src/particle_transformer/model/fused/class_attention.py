"""A(z, LN(x)): class attention, whose keys and values are made of the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import draw_seed, factor_dtype, like_rows
from particle_transformer.model.kernels import call_kernel

if TYPE_CHECKING:
    from particle_transformer.model.fused.parts import EventRows

__all__ = ["fused_class_attention"]


def fused_class_attention(
    query: Tensor,
    class_key_value: Tensor,
    x: Tensor,
    norm: torch.nn.LayerNorm,
    key_value: torch.nn.Linear,
    events: EventRows,
    heads: int,
    dropout: float,
) -> Tensor:
    """Attention of the class token to itself and the objects of its event.

    Parameters
    ----------
    query
        (events, width).
    class_key_value
        (events, 2 × width): key and value of the class token.
    x
        (objects, width), before the norm.
    norm, key_value
        Make key and value of an object.
    events
        Which objects belong together.
    heads
        Attention heads.
    dropout
        Probability, on attention weights.

    Returns
    -------
    Tensor
        (events, width), of the dtype of the products' factors.
    """
    result: Tensor = _ClassAttention.apply(  # type: ignore[no-untyped-call]
        query, class_key_value, x, norm.weight, norm.bias, key_value.weight, key_value.bias,
        norm.eps, events, heads, float(dropout), factor_dtype(x), torch.is_grad_enabled(),
    )  # fmt: skip
    return result


class _ClassAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        class_key_value: Tensor,
        x: Tensor,
        gain: Tensor,
        shift: Tensor,
        weight: Tensor,
        added: Tensor,
        epsilon: float,
        events: EventRows,
        heads: int,
        dropout: float,
        dtype: torch.dtype,
        keep: bool,
    ) -> Tensor:
        query, own = query.to(dtype).contiguous(), class_key_value.to(dtype).contiguous()
        x, weight = x.contiguous(), weight.to(dtype).contiguous()
        gain, shift, added = like_rows(x, gain, shift, added)
        kept = (
            x.new_empty(len(x), len(weight), dtype=dtype)
            if keep and any(ctx.needs_input_grad)
            else None
        )
        statistics, attended = x.new_empty(len(x), 2), torch.empty_like(query)
        where = (events.offsets, events.edges)
        sizes = (len(events.edges) - 1, events.longest, heads, x.shape[1] // heads)
        chance = (dropout, draw_seed(dropout))
        call_kernel(
            "class_attention", [query, own, x, gain, shift, weight, added, *where],
            [*sizes, epsilon, *chance], [kept, statistics, attended], like=weight,
        )  # fmt: skip
        ctx.save_for_backward(query, own, x, gain, shift, weight, added, kept, statistics)
        ctx.where, ctx.numbers = where, (*sizes, *chance)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        query, own, x, _gain, _shift, weight, added, _kept, _statistics = ctx.saved_tensors
        query_slope, own_slope, x_slope, added_slope = map(torch.empty_like, (query, own, x, added))
        norm_slopes, weight_slope = x.new_empty(2, x.shape[1]), x.new_empty(weight.shape)
        call_kernel(
            "class_attention_backward", [slope.contiguous(), *ctx.saved_tensors, *ctx.where],
            ctx.numbers,
            [query_slope, own_slope, x_slope, norm_slopes, weight_slope, added_slope],
            like=weight,
        )  # fmt: skip
        return (
            query_slope, own_slope, x_slope, *norm_slopes, weight_slope, added_slope, None, None,
            None, None, None, None,
        )  # fmt: skip
