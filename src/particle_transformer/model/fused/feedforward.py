"""x → x + γ ⊙ F(LN(x)): a feed-forward network of one hidden layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from particle_transformer.model.fused.parts import draw_seed, factor_dtype, like_rows, rows_at_once
from particle_transformer.model.kernels import call_kernel

__all__ = ["fused_feedforward"]


def fused_feedforward(
    x: Tensor,
    norm: torch.nn.LayerNorm,
    hidden: torch.nn.Linear,
    out: tuple[Tensor, Tensor],
    dropout: float,
) -> Tensor:
    """Rows after the branch, with GELU between its layers.

    Parameters
    ----------
    x
        (rows, width).
    norm, hidden
        The first layers of the branch.
    out
        Weights (width, hidden width) and biases of the last, both times γ.
    dropout
        Probability, on the hidden layer and on the result.

    Returns
    -------
    Tensor
        (rows, width), of the dtype of `x`.
    """
    result: Tensor = _FeedForward.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, hidden.weight, hidden.bias, *out, norm.eps, float(dropout),
        factor_dtype(x), torch.is_grad_enabled(),
    )  # fmt: skip
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
        dropout: float,
        dtype: torch.dtype,
        keep: bool,
    ) -> Tensor:
        x = x.contiguous()
        gain, shift, added, out_added = like_rows(x, gain, shift, added, out_added)
        weight, out_weight = weight.to(dtype).contiguous(), out_weight.to(dtype).contiguous()
        rows, hidden_width = len(x), len(weight)
        kept = (
            x.new_empty(rows, hidden_width, dtype=dtype)
            if keep and any(ctx.needs_input_grad)
            else None
        )
        statistics, total = x.new_empty(rows, 2), torch.empty_like(x)
        sizes = (rows, x.shape[1], hidden_width, rows_at_once(rows))
        chance = (dropout, draw_seed(dropout), draw_seed(dropout))
        call_kernel(
            "feedforward", [x, gain, shift, weight, added, out_weight, out_added],
            [*sizes, epsilon, *chance], [kept, statistics, total], like=weight,
        )  # fmt: skip
        ctx.save_for_backward(x, gain, shift, weight, added, out_weight, kept, statistics)
        ctx.numbers = (*sizes, *chance)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, _gain, _shift, weight, added, out_weight, _kept, _statistics = ctx.saved_tensors
        x_slope, added_slope = torch.empty_like(x), torch.empty_like(added)
        norm_slopes, out_added_slope = x.new_empty(2, x.shape[1]), x.new_empty(x.shape[1])
        weight_slope, out_slope = x.new_empty(weight.shape), x.new_empty(out_weight.shape)
        call_kernel(
            "feedforward_backward", [slope.contiguous(), *ctx.saved_tensors], ctx.numbers,
            [x_slope, norm_slopes, weight_slope, added_slope, out_slope, out_added_slope],
            like=weight,
        )  # fmt: skip
        return (
            x_slope, *norm_slopes, weight_slope, added_slope, out_slope, out_added_slope, None,
            None, None, None,
        )  # fmt: skip
