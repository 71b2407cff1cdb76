"""Attention on a grid of events and slots, in PyTorch's own operations.

This defines what `particle_transformer.model.kernels` computes on packed objects.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["attend_dense", "attend_from_class_dense"]


def attend_dense(
    query_key_value: Tensor,
    occupied: Tensor,
    bias: Tensor | None,
    heads: int,
    dropout: float,
    maps: list[Tensor] | None = None,
) -> Tensor:
    """Attention of each slot to the occupied slots of its event.

    softmax(q·k/√d + bias)·v for each head, arXiv:1706.03762 eq. (1) and arXiv:2202.03772 eq. (4).

    Parameters
    ----------
    query_key_value
        (events, slots, 3 × width): query, key and value, each with head after head.
    occupied
        bool (events, slots).
    bias
        (events, heads, slots, slots), or None.
    heads
        Attention heads.
    dropout
        Probability of dropping an attention weight.
    maps
        Gets the attention weights (events, heads, slots, slots), where given.

    Returns
    -------
    Tensor
        (events, slots, width). What the slots that are not occupied get means nothing, but is
        finite.
    """
    # Opening every slot of an event without objects keeps its softmax defined.
    empty = ~occupied.any(1, keepdim=True)  # (events, 1)
    mask = (occupied | empty)[:, None, None, :]  # (events, 1, 1, slots)
    if bias is not None:
        mask = bias.masked_fill(~mask, -torch.inf)  # (events, heads, slots, slots)
    dim = query_key_value.shape[2] // (3 * heads)
    parts = query_key_value.view(*query_key_value.shape[:2], 3, heads, dim)
    query, key, value = parts.unbind(2)  # (events, slots, heads, d) each
    attended = _attend(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask, dropout, maps
    )  # (events, heads, slots, d)
    return attended.transpose(1, 2).flatten(2)  # (events, slots, width)


def attend_from_class_dense(
    query: Tensor,
    class_key_value: Tensor,
    key_value: Tensor,
    occupied: Tensor,
    heads: int,
    dropout: float,
    maps: list[Tensor] | None = None,
) -> Tensor:
    """Attention of the class token to itself and the occupied slots of its event.

    Class attention, arXiv:2103.17239 eqs. (5)-(7). The class token is never masked, so that an
    event without objects is as well-defined as any other.

    Parameters
    ----------
    query
        (events, width).
    class_key_value
        (events, 2 × width): key and value of the class token.
    key_value
        (events, slots, 2 × width).
    occupied
        bool (events, slots).
    heads, dropout
        As in `attend_dense`.
    maps
        Gets the attention weights (events, heads, 1, 1 + slots), the class token's first.

    Returns
    -------
    Tensor
        (events, width).
    """
    dim = query.shape[1] // heads
    keys = torch.cat([class_key_value[:, None], key_value], 1)  # (events, 1 + slots, 2 × width)
    keys = keys.view(*keys.shape[:2], 2, heads, dim)  # (events, 1 + slots, 2, heads, d)
    key, value = keys.unbind(2)
    mask = F.pad(occupied, (1, 0), value=True)[:, None, None, :]  # (events, 1, 1, 1 + slots)
    attended = _attend(
        query.view(query.shape[0], heads, 1, dim),  # (events, heads, 1, d)
        key.transpose(1, 2),
        value.transpose(1, 2),
        mask,
        dropout,
        maps,
    )  # (events, heads, 1, d)
    return attended.flatten(1)  # (events, width)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    dropout: float,
    maps: list[Tensor] | None,
) -> Tensor:
    """(events, heads, queries, d); `mask` is bool (True = attended to) or added to the scores."""
    if maps is None:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    open_ = mask if mask.dtype == torch.bool else mask > -torch.inf
    scores = scores if mask.dtype == torch.bool else scores + mask
    weights = scores.masked_fill(~open_, -torch.inf).softmax(3)  # (events, heads, queries, keys)
    maps.append(weights)
    return F.dropout(weights, dropout) @ value
