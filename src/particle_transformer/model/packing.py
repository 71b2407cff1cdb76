"""Between padded tensors, packed rows and pairs; several collections in one sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = [
    "EventGrid", "PairList", "count_offsets", "interleave", "pack", "pair_offsets", "real_rows",
]  # fmt: skip


def count_offsets(counts: Tensor) -> Tensor:
    """Offsets int64 (events + 1,) of `counts` int64 (events,)."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def pair_offsets(offsets: Tensor) -> Tensor:
    """Pairs int64 (events + 1,) of events that own the rows offsets[i]:offsets[i + 1]."""
    counts = offsets.diff()  # (events,)
    return count_offsets(counts * (counts - 1) // 2)


def real_rows(padded: Tensor, padding_mask: Tensor | None) -> tuple[Tensor | None, Tensor]:
    """Where the real objects are.

    Parameters
    ----------
    padded
        (batch, n, features).
    padding_mask
        bool (batch, n), True = padded; None where every slot is real.

    Returns
    -------
    rows : int64 (objects,)
        Places of the real objects in the flattened (batch × n,) slots; None for all of them.
    offsets : int64 (batch + 1,)
    """
    batch, n = padded.shape[:2]
    if padding_mask is None:
        return None, torch.arange(batch + 1, device=padded.device) * n
    real = ~padding_mask
    return real.flatten().nonzero()[:, 0], count_offsets(real.sum(1))


def pack(padded: Tensor, rows: Tensor | None) -> Tensor:
    """The `rows` of `padded` (batch, n, features), end to end: (objects, features).

    What a padded slot holds is never read.
    """
    flat = padded.flatten(0, 1)  # (batch × n, features)
    return flat if rows is None else flat.index_select(0, rows)


def interleave(offsets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Where each row of several collections goes when every event gets all of its objects.

    Parameters
    ----------
    offsets
        int64 (events + 1,) for each collection.

    Returns
    -------
    destination : int64 (all objects,)
        New row of each row of the concatenated collections.
    merged : int64 (events + 1,)
        Offsets after the move: in each event, collection follows collection.
    """
    counts = torch.stack([offset.diff() for offset in offsets])  # (collections, events)
    merged = count_offsets(counts.sum(0))
    before = counts.cumsum(0) - counts  # objects of earlier collections, (collections, events)
    shift = merged[:-1] + before - torch.stack([offset[:-1] for offset in offsets])
    destination = [
        torch.arange(int(offset[-1]), device=offset.device)
        + torch.repeat_interleave(row_shift, count)
        for offset, row_shift, count in zip(offsets, shift, counts, strict=True)
    ]
    return torch.cat(destination), merged


@dataclass(frozen=True)
class EventGrid:
    """Where each packed object sits on the grid of a batch's events and slots.

    Attributes
    ----------
    slot
        int64 (objects,): position on the flattened grid, event × slots + place.
    occupied
        bool (events, slots); the slots are the largest multiplicity, at least 1.
    """

    slot: Tensor
    occupied: Tensor

    @staticmethod
    def from_offsets(offsets: Tensor) -> EventGrid:
        """Lay out events that own the rows offsets[i]:offsets[i + 1]."""
        counts = offsets.diff()  # (events,)
        objects = int(offsets[-1])
        slots = int(counts.max()) if objects else 1
        event = torch.repeat_interleave(counts)  # (objects,)
        place = torch.arange(objects, device=offsets.device) - offsets[event]  # (objects,)
        occupied = torch.arange(slots, device=offsets.device) < counts[:, None]  # (events, slots)
        return EventGrid(event * slots + place, occupied)

    def scatter(self, rows: Tensor) -> Tensor:
        """Spread `rows` (objects, …) over the grid: (events, slots, …), zero where empty."""
        empty = rows.new_zeros(self.occupied.numel(), *rows.shape[1:])
        return empty.index_copy(0, self.slot, rows).view(*self.occupied.shape, *rows.shape[1:])

    def gather(self, grid: Tensor) -> Tensor:
        """Collect the objects of `grid` (events, slots, …) as rows (objects, …)."""
        return grid.flatten(0, 1)[self.slot]


@dataclass(frozen=True)
class PairList:
    """Every two objects of an event once: (0, 1), (0, 2), …, (1, 2), … of event after event.

    Attributes
    ----------
    first, second
        int64 (pairs,): rows of the packed objects.
    """

    first: Tensor
    second: Tensor

    @staticmethod
    def from_offsets(offsets: Tensor) -> PairList:
        """List the pairs of events that own the rows offsets[i]:offsets[i + 1]."""
        counts = offsets.diff()  # (events,)
        row = torch.arange(int(offsets[-1]), device=offsets.device)  # (objects,)
        behind = (
            torch.repeat_interleave(offsets[1:], counts) - 1 - row
        )  # objects after it, (objects,)
        first = torch.repeat_interleave(row, behind)  # (pairs,)
        start = behind.cumsum(0) - behind  # the first pair of each object, (objects,)
        place = torch.arange(len(first), device=offsets.device) - start[first]  # (pairs,)
        return PairList(first, first + 1 + place)

    def spread(self, values: Tensor, grid: EventGrid) -> Tensor:
        """Symmetric (events, heads, slots, slots) of `values` (pairs, heads), 0 elsewhere."""
        events, slots = grid.occupied.shape
        first, second = grid.slot[self.first], grid.slot[self.second]  # (pairs,)
        empty = values.new_zeros(events * slots * slots, values.shape[1])
        half = empty.index_copy(0, first * slots + second % slots, values)
        half = half.view(events, slots, slots, values.shape[1])  # (events, slots, slots, heads)
        return (half + half.transpose(1, 2)).permute(0, 3, 1, 2)
