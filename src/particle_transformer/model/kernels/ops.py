"""The kernels as operators of PyTorch, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from particle_transformer.model.kernels.calls import call_kernel

__all__ = ["attend", "attend_from_class"]

_NAMESPACE = "analysis_object_transformer"


def _numbers(offsets: Tensor, heads: int, width: int, dropout: float, seed: int) -> list[Any]:
    return [
        len(offsets) - 1, heads, width // heads,
        dropout, seed,
    ]  # fmt: skip


@torch.library.custom_op(f"{_NAMESPACE}::attend", mutates_args=())
def attend(
    query_key_value: Tensor,
    offsets: Tensor,
    bias: Tensor | None,
    pair_offsets: Tensor | None,
    heads: int,
    dropout: float,
    seed: int,
) -> Tensor:
    """Attention of each object to all objects of its event.

    softmax(q·k/√d + bias)·v for each head, arXiv:1706.03762 eq. (1) and arXiv:2202.03772 eq. (4).

    Parameters
    ----------
    query_key_value
        (objects, 3 × width): query, key and value, each with head after head.
    offsets
        int64 (events + 1,).
    bias
        (pairs, heads) for every two objects of an event, in the order of `PairList`; or None.
    pair_offsets
        int64 (events + 1,): the pairs of each event; None without a bias.
    heads
        Attention heads.
    dropout
        Probability of dropping an attention weight.
    seed
        Of the dropout.

    Returns
    -------
    Tensor
        (objects, width).
    """
    if bias is not None and bias.dtype != query_key_value.dtype:
        message = f"bias: got {bias.dtype}, expected {query_key_value.dtype} as the rows"
        raise TypeError(message)
    width = query_key_value.shape[1] // 3
    attended = query_key_value.new_empty(len(query_key_value), width)
    call_kernel(
        "attend", [query_key_value.contiguous(), offsets, _contiguous(bias), pair_offsets],
        _numbers(offsets, heads, width, dropout, seed), [attended], like=query_key_value,
    )  # fmt: skip
    return attended


@torch.library.custom_op(f"{_NAMESPACE}::attend_backward", mutates_args=())
def _attend_backward(
    query_key_value: Tensor,
    gradient: Tensor,
    offsets: Tensor,
    bias: Tensor | None,
    pair_offsets: Tensor | None,
    heads: int,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    rows = query_key_value.contiguous()
    slopes = torch.empty_like(rows)
    bias = _contiguous(bias)
    bias_slopes = rows.new_empty(0) if bias is None else torch.empty_like(bias)
    call_kernel(
        "attend_backward", [rows, gradient.contiguous(), offsets, bias, pair_offsets],
        _numbers(offsets, heads, rows.shape[1] // 3, dropout, seed),
        [slopes, None if bias is None else bias_slopes],
        like=rows,
    )  # fmt: skip
    return slopes, bias_slopes


@torch.library.custom_op(f"{_NAMESPACE}::attend_from_class", mutates_args=())
def attend_from_class(
    query: Tensor,
    class_key_value: Tensor,
    key_value: Tensor,
    offsets: Tensor,
    heads: int,
    dropout: float,
    seed: int,
) -> Tensor:
    """Attention of the class token to itself and the objects of its event.

    Class attention, arXiv:2103.17239 eqs. (5)-(7).

    Parameters
    ----------
    query
        (events, width).
    class_key_value
        (events, 2 × width): key and value of the class token.
    key_value
        (objects, 2 × width).
    offsets
        int64 (events + 1,).
    heads, dropout, seed
        As in `attend`.

    Returns
    -------
    Tensor
        (events, width).
    """
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    call_kernel(
        "attend_from_class",
        [query.contiguous(), class_key_value.contiguous(), key_value.contiguous(), offsets],
        _numbers(offsets, heads, query.shape[1], dropout, seed), [attended], like=query,
    )  # fmt: skip
    return attended


@torch.library.custom_op(f"{_NAMESPACE}::attend_from_class_backward", mutates_args=())
def _attend_from_class_backward(
    query: Tensor,
    class_key_value: Tensor,
    key_value: Tensor,
    gradient: Tensor,
    offsets: Tensor,
    heads: int,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = [query.contiguous(), class_key_value.contiguous(), key_value.contiguous()]
    slopes = [torch.empty_like(tensor) for tensor in inputs]
    call_kernel(
        "attend_from_class_backward", [*inputs, gradient.contiguous(), offsets],
        _numbers(offsets, heads, query.shape[1], dropout, seed), slopes, like=query,
    )  # fmt: skip
    return slopes[0], slopes[1], slopes[2]


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


@attend.register_fake
def _(query_key_value: Tensor, *_arguments: Any) -> Tensor:
    return query_key_value.new_empty(query_key_value.shape[0], query_key_value.shape[1] // 3)


@_attend_backward.register_fake
def _(
    query_key_value: Tensor,
    gradient: Tensor,
    offsets: Tensor,
    bias: Tensor | None,
    *_arguments: Any,
) -> tuple[Tensor, Tensor]:
    del gradient, offsets
    slopes = torch.empty_like(query_key_value, memory_format=torch.contiguous_format)
    return slopes, query_key_value.new_empty(0) if bias is None else torch.empty_like(bias)


@attend_from_class.register_fake
def _(query: Tensor, *_arguments: Any) -> Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)


@_attend_from_class_backward.register_fake
def _(
    query: Tensor, class_key_value: Tensor, key_value: Tensor, *_arguments: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(class_key_value), torch.empty_like(key_value)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
    ctx.numbers = tuple(None if isinstance(value, Tensor) else value for value in inputs)
    ctx.tensors = tuple(isinstance(value, Tensor) for value in inputs)


def _kept(ctx: Any) -> list[Any]:
    saved = iter(ctx.saved_tensors)
    return [
        next(saved) if is_tensor else value
        for value, is_tensor in zip(ctx.numbers, ctx.tensors, strict=True)
    ]


def _attend_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    query_key_value, offsets, bias, pair_offsets, *rest = _kept(ctx)
    slopes, bias_slopes = _attend_backward(
        query_key_value, gradient, offsets, bias, pair_offsets, *rest
    )
    return slopes, None, None if bias is None else bias_slopes, None, None, None, None


def _attend_from_class_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    query, class_key_value, key_value, offsets, *rest = _kept(ctx)
    slopes = _attend_from_class_backward(
        query, class_key_value, key_value, gradient, offsets, *rest
    )
    return (*slopes, None, None, None, None)


attend.register_autograd(_attend_gradient, setup_context=_keep)
attend_from_class.register_autograd(_attend_from_class_gradient, setup_context=_keep)
