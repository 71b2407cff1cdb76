"""From padded tensors to packed rows, and several collections into one sequence of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["count_offsets", "interleave", "pack"]


def count_offsets(counts: Tensor) -> Tensor:
    """Offsets int64 (events + 1,) of `counts` int64 (events,)."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def pack(padded: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Drop the padded slots.

    Parameters
    ----------
    padded
        (batch, n, features).
    padding_mask
        bool (batch, n), True = padded; None where every slot is real.

    Returns
    -------
    rows : (objects, features)
        The real objects end to end. What a padded slot held is never read.
    offsets : int64 (batch + 1,)
    """
    batch, n = padded.shape[:2]
    if padding_mask is None:
        offsets = torch.arange(batch + 1, device=padded.device) * n
        return padded.reshape(batch * n, padded.shape[2]), offsets
    real = ~padding_mask
    return padded[real], count_offsets(real.sum(1))


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
