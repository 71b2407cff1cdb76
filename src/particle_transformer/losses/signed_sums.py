"""Sums over all pairs of events, signed by their order, in O(n log n) time and O(n) memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["signed_sums", "signed_sums_of_two"]


def signed_sums(x: Tensor, columns: Tensor) -> Tensor:
    """Σⱼ mⱼ sgn(xᵢ − xⱼ) of each event i.

    Parameters
    ----------
    x
        (events,).
    columns
        (columns, events): the m.

    Returns
    -------
    Tensor
        (columns, events); events that tie count 0, so that their order does not matter.
    """
    order = torch.argsort(x)  # (events,)
    start, stop = _ties(x[order])
    cumulative = F.pad(columns[:, order].cumsum(1), (1, 0))  # (columns, events + 1)
    sums = torch.empty_like(columns)
    sums[:, order] = cumulative[:, start] + cumulative[:, stop] - cumulative[:, -1:]
    return sums


def signed_sums_of_two(x: Tensor, y: Tensor, columns: Tensor) -> Tensor:
    """Σⱼ mⱼ sgn(xᵢ − xⱼ) sgn(yᵢ − yⱼ) of each event i.

    From the sums over the events below in both, as in Huo & Székely (Technometrics 58 (2016) 435,
    arXiv:1410.1503, section 3).

    Parameters
    ----------
    x, y
        (events,).
    columns
        (columns, events): the m.

    Returns
    -------
    Tensor
        (columns, events). Events that tie in x count 0. One that ties in y counts ±mⱼ, the same
        sign in every column: right wherever the sum's use is multiplied by yᵢ − yⱼ.
    """
    by_y = torch.argsort(y, stable=True)  # (events,)
    # Rising x, and events that tie in x by rising y: then the sums below in both of events that
    # tie in x are sums of a run.
    by_x = by_y[torch.argsort(x[by_y], stable=True)]  # (events,)
    place = torch.empty_like(by_x)
    place[by_x] = torch.arange(len(x), device=x.device)
    start, stop = _ties(x[by_x])
    below_x = F.pad(columns[:, by_x].cumsum(1), (1, 0))  # (columns, events + 1)
    below_y = torch.empty_like(columns)
    below_y[:, by_y] = columns[:, by_y].cumsum(1) - columns[:, by_y]
    both = _sums_before(columns[:, by_x], place[by_y])  # (columns, events)
    sums = torch.empty_like(columns)
    sums[:, by_x] = (
        4 * both
        - 2 * (below_x[:, :-1] + below_y[:, by_x])
        + (below_x[:, start] - below_x[:, stop])
        + below_x[:, -1:]
    )
    return sums


def _ties(rising: Tensor) -> tuple[Tensor, Tensor]:
    """First place and one past the last place of each event's ties, int64 (events,)."""
    start = torch.searchsorted(rising, rising)
    return start, torch.searchsorted(rising, rising, right=True)


def _sums_before(columns: Tensor, places: Tensor) -> Tensor:
    """Σ mⱼ over the events j that come before i both in place and in the order of `places`.

    A merge sort from the top: halves of ever smaller blocks of places. In each, the events of the
    right half collect those of the left half that come before them; each pair meets once.

    Parameters
    ----------
    columns
        (columns, events), by place.
    places
        int64 (events,): a permutation of the places.

    Returns
    -------
    Tensor
        (columns, events), by place.
    """
    count, events = columns.shape
    levels = (events - 1).bit_length()
    size = 1 << levels
    padded = F.pad(columns, (0, size - events))  # (columns, size)
    order = torch.cat([places, torch.arange(events, size, device=places.device)])  # (size,)
    sums = torch.zeros_like(padded)
    for level in reversed(range(levels)):
        half = 1 << level
        left = ((order >> level) & 1) == 0  # (size,)
        blocks = (padded[:, order] * left).view(count, -1, 2 * half)
        sums[:, order] += blocks.cumsum(2).view(count, size) * ~left
        halves = [order[left].view(-1, half), order[~left].view(-1, half)]
        order = torch.stack(halves, 1).view(-1)  # (size,)
    return sums[:, :events]
