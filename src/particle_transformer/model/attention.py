"""Attention inside events whose objects are packed end to end.

Only this file knows that attention works on a dense (events, slots) grid; every linear layer
works on packed rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EventGrid", "attend", "attend_from_class"]


@dataclass(frozen=True)
class EventGrid:
    """Where each packed object sits on the dense grid of a batch.

    Attributes
    ----------
    events, slots
        The grid's size; `slots` is the largest multiplicity, at least 1.
    slot
        int64 (objects,): position on the flattened grid, event × slots + place.
    occupied
        bool (events, slots).
    """

    events: int
    slots: int
    slot: Tensor
    occupied: Tensor

    @staticmethod
    def from_offsets(offsets: Tensor) -> EventGrid:
        """Lay out events that own the rows offsets[i]:offsets[i + 1]."""
        counts = offsets.diff()  # (events,)
        events, objects = len(counts), int(offsets[-1])
        slots = int(counts.max()) if objects else 1
        event = torch.repeat_interleave(counts)  # (objects,)
        place = torch.arange(objects, device=offsets.device) - offsets[event]  # (objects,)
        occupied = torch.arange(slots, device=offsets.device) < counts[:, None]  # (events, slots)
        return EventGrid(events, slots, event * slots + place, occupied)

    def scatter(self, rows: Tensor) -> Tensor:
        """Spread `rows` (objects, …) over the grid: (events, slots, …), zero where empty."""
        empty = rows.new_zeros(self.events * self.slots, *rows.shape[1:])
        filled = empty.index_copy(0, self.slot, rows)  # (events × slots, …)
        return filled.view(self.events, self.slots, *rows.shape[1:])

    def gather(self, grid: Tensor) -> Tensor:
        """Collect the objects of `grid` (events, slots, …) as rows (objects, …)."""
        return grid.flatten(0, 1)[self.slot]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grid: EventGrid,
    bias: Tensor | None,
    dropout: float,
) -> Tensor:
    """Scaled dot-product attention of each object to all objects of its event.

    softmax(q·k/√d + bias)·v, arXiv:1706.03762 eq. (1), with the bias of arXiv:2202.03772 eq. (4).

    Parameters
    ----------
    query, key, value
        (objects, heads, d).
    grid
        Where the objects sit.
    bias
        (events, heads, slots, slots) added to the logits, or None.
    dropout
        Probability of dropping an attention weight.

    Returns
    -------
    Tensor
        (objects, heads, d).
    """
    # Slot 0 is occupied in every event with objects. Opening it in empty events as well keeps
    # their softmax defined; no row reads its result.
    first = torch.zeros_like(grid.occupied)
    first[:, :1] = True
    mask = (grid.occupied | first)[:, None, None, :]  # (events, 1, 1, slots)
    if bias is not None:
        mask = bias.masked_fill(~mask, -torch.inf)  # (events, heads, slots, slots)
    attended = F.scaled_dot_product_attention(
        grid.scatter(query).transpose(1, 2),  # (events, heads, slots, d)
        grid.scatter(key).transpose(1, 2),
        grid.scatter(value).transpose(1, 2),
        attn_mask=mask,
        dropout_p=dropout,
    )
    return grid.gather(attended.transpose(1, 2))  # (objects, heads, d)


def attend_from_class(
    query: Tensor,
    class_key: Tensor,
    class_value: Tensor,
    key: Tensor,
    value: Tensor,
    grid: EventGrid,
    dropout: float,
) -> Tensor:
    """Attention of the class token to itself and the objects of its event.

    Class attention, arXiv:2103.17239 eqs. (5)-(7). The class token is never masked, so that an
    event without objects is as well-defined as any other.

    Parameters
    ----------
    query, class_key, class_value
        (events, heads, d).
    key, value
        (objects, heads, d).
    grid
        Where the objects sit.
    dropout
        Probability of dropping an attention weight.

    Returns
    -------
    Tensor
        (events, heads, d).
    """
    keys = torch.cat([class_key[:, None], grid.scatter(key)], 1)  # (events, 1 + slots, heads, d)
    values = torch.cat([class_value[:, None], grid.scatter(value)], 1)
    mask = F.pad(grid.occupied, (1, 0), value=True)[:, None, None, :]  # (events, 1, 1, 1 + slots)
    attended = F.scaled_dot_product_attention(
        query[:, :, None],  # (events, heads, 1, d)
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=mask,
        dropout_p=dropout,
    )
    return attended[:, :, 0]  # (events, heads, d)
