"""A(z, LN(x)): class attention, whose keys and values are made of the objects."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import WeightSlope, factor_dtype
from particle_transformer.model.kernels import attention, rows

__all__ = ["fused_class_attention"]


def fused_class_attention(
    query: Tensor,
    class_key_value: Tensor,
    x: Tensor,
    norm: torch.nn.LayerNorm,
    key_value: torch.nn.Linear,
    events: attention.EventRows,
    heads: int,
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

    Returns
    -------
    Tensor
        (events, width), of the dtype of `query`.
    """
    result: Tensor = _ClassAttention.apply(  # type: ignore[no-untyped-call]
        query, class_key_value, x, norm.weight, norm.bias, key_value.weight, key_value.bias,
        norm.eps, events, heads, factor_dtype(x),
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
        events: attention.EventRows,
        heads: int,
        dtype: torch.dtype,
    ) -> Tensor:
        x, query, own = x.contiguous(), query.to(dtype).contiguous(), class_key_value.to(dtype)
        own = own.contiguous()  # (events, 2 × width)
        weight = weight.to(dtype)
        kept = any(ctx.needs_input_grad)
        longest = events.longest_part
        projected = x.new_empty(len(x) if kept else longest, len(weight), dtype=dtype)
        statistics = x.new_empty(len(x), 2)
        normed = x.new_empty(longest, x.shape[1], dtype=dtype)
        attended = torch.empty_like(query)
        with torch.autocast("cpu", enabled=False):
            for event_part, part in events.parts:
                n = part.stop - part.start
                norm, inner = normed[:n], projected[part] if kept else projected[:n]
                rows.layer_norm(x[part], gain, shift, epsilon, norm, statistics[part])
                torch.mm(norm, weight.t(), out=inner)  # (n, 2 × width)
                attention.attend_from_class(
                    query[event_part], own[event_part], inner, added, events, event_part, heads,
                    attended[event_part],
                )  # fmt: skip
        ctx.save_for_backward(query, own, x, gain, shift, weight, added, projected, statistics)
        ctx.events, ctx.heads = events, heads
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        query, own, x, gain, shift, weight, added, projected, statistics = ctx.saved_tensors
        events: attention.EventRows = ctx.events
        slope = slope.contiguous()
        query_slope, own_slope, x_slope = map(torch.empty_like, (query, own, x))
        norm_sums = x.new_zeros(3, x.shape[1])  # of gain and of shift
        added_slope = torch.zeros_like(added)
        weight_slope = WeightSlope(weight, x.dtype)
        longest = events.longest_part
        normed, normed_slope = (query.new_empty(longest, x.shape[1]) for _ in range(2))
        inner_slope = query.new_empty(longest, len(weight))
        for event_part, part in events.parts:
            n = part.stop - part.start
            norm, norm_slope, steep = normed[:n], normed_slope[:n], inner_slope[:n]
            attention.attend_from_class_backward(
                query[event_part], own[event_part], projected[part], added, slope[event_part],
                events, event_part, ctx.heads, query_slope[event_part], own_slope[event_part],
                steep, added_slope,
            )  # fmt: skip
            torch.mm(steep, weight, out=norm_slope)  # (n, width)
            rows.layer_norm_again(x[part], statistics[part], gain, shift, norm)
            weight_slope.add(steep, norm)
            rows.layer_norm_backward(
                x[part], statistics[part], gain, norm_slope, None, x_slope[part], norm_sums
            )
        return (
            query_slope, own_slope, x_slope, norm_sums[0], norm_sums[1], weight_slope.sum,
            added_slope, None, None, None, None,
        )  # fmt: skip
