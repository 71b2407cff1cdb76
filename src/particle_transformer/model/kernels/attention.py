"""Attention on a part of a batch's events: calls of the compiled functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer.model.kernels.calls import call_kernel

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ROWS_AT_ONCE",
    "EventRows",
    "attend",
    "attend_backward",
    "attend_from_class",
    "attend_from_class_backward",
]

ROWS_AT_ONCE = 1024
"""Rows whose intermediate results fit into the second-level caches of a few cores."""


@dataclass(frozen=True)
class EventRows:
    """Which rows and pairs belong to which event, and how a batch is cut into parts.

    Attributes
    ----------
    offsets
        int64 (events + 1,): rows of each event.
    pair_offsets
        int64 (events + 1,): pairs of each event.
    """

    offsets: Tensor
    pair_offsets: Tensor

    @cached_property
    def parts(self) -> list[tuple[slice, slice]]:
        """Events and rows of each part: `ROWS_AT_ONCE`, and what its last event brings above."""
        rows = int(self.offsets[-1])
        starts = torch.arange(0, rows, ROWS_AT_ONCE)
        # The first events that begin at or behind each start; some have no row.
        events = torch.searchsorted(self.offsets, starts)  # (parts,)
        edges = sorted({0, *events.tolist(), len(self.offsets) - 1})
        places = self.offsets[edges].tolist()
        return [
            (slice(*event_edges), slice(*row_edges))
            for event_edges, row_edges in zip(pairwise(edges), pairwise(places), strict=True)
        ]

    @property
    def longest_part(self) -> int:
        """Rows of the longest part."""
        return max((part.stop - part.start for _, part in self.parts), default=0)


def _numbers(events: slice, width: int, heads: int) -> list[Any]:
    return [
        events.stop - events.start, heads,
        width // heads, 0.0, 0,
    ]  # fmt: skip


def attend(
    query_key_value: Tensor,
    added: Tensor,
    events: EventRows,
    part: slice,
    bias: Tensor | None,
    heads: int,
    attended: Tensor,
) -> None:
    """Attention inside the events of a part, without dropout.

    Parameters
    ----------
    query_key_value
        S (rows of the part, 3 × width).
    added
        R (3 × width,), added to each row first.
    events, part
        The batch, and the events of the part.
    bias
        S (pairs of the batch, heads); or None.
    heads
        Attention heads.
    attended
        S (rows of the part, width), filled.
    """
    call_kernel(
        "attend", [query_key_value, added, *_offsets(events, part, bias)],
        _numbers(part, attended.shape[1], heads), [attended], like=query_key_value,
    )  # fmt: skip


def attend_backward(
    query_key_value: Tensor,
    added: Tensor,
    gradient: Tensor,
    events: EventRows,
    part: slice,
    bias: Tensor | None,
    heads: int,
    attended: Tensor,
    slopes: Tensor,
    bias_slopes: Tensor | None,
    added_slopes: Tensor,
) -> None:
    """Gradients of `attend`.

    Parameters
    ----------
    query_key_value, added, events, part, bias, heads
        As in `attend`.
    gradient
        S (rows of the part, width), of what it returned.
    attended
        S (rows of the part, width), filled with what it returned.
    slopes
        S (rows of the part, 3 × width), filled with the gradient of `query_key_value`.
    bias_slopes
        S (pairs of the batch, heads), whose part is filled; or None.
    added_slopes
        R (3 × width,): the gradient of `added` is added.
    """
    offsets, pairs, pair_offsets = _offsets(events, part, bias)
    call_kernel(
        "attend_backward", [query_key_value, added, gradient, offsets, pairs, pair_offsets],
        _numbers(part, attended.shape[1], heads), [attended, slopes, bias_slopes, added_slopes],
        like=query_key_value,
    )  # fmt: skip


def attend_from_class(
    query: Tensor,
    class_key_value: Tensor,
    key_value: Tensor,
    added: Tensor,
    events: EventRows,
    part: slice,
    heads: int,
    attended: Tensor,
) -> None:
    """Class attention of the events of a part, without dropout.

    Parameters
    ----------
    query
        S (events of the part, width).
    class_key_value
        S (events of the part, 2 × width).
    key_value
        S (rows of the part, 2 × width).
    added
        R (2 × width,), added to each row of `key_value` first.
    events, part, heads
        As in `attend`.
    attended
        S (events of the part, width), filled.
    """
    offsets, _, _ = _offsets(events, part, None)
    call_kernel(
        "attend_from_class", [query, class_key_value, key_value, added, offsets],
        _numbers(part, query.shape[1], heads), [attended], like=query,
    )  # fmt: skip


def attend_from_class_backward(
    query: Tensor,
    class_key_value: Tensor,
    key_value: Tensor,
    added: Tensor,
    gradient: Tensor,
    events: EventRows,
    part: slice,
    heads: int,
    query_slopes: Tensor,
    class_slopes: Tensor,
    slopes: Tensor,
    added_slopes: Tensor,
) -> None:
    """Gradients of `attend_from_class`.

    Parameters
    ----------
    query, class_key_value, key_value, added, events, part, heads
        As in `attend_from_class`.
    gradient
        S (events of the part, width), of what it returned.
    query_slopes, class_slopes, slopes
        S, filled with the gradients of the first three.
    added_slopes
        R (2 × width,): the gradient of `added` is added.
    """
    offsets, _, _ = _offsets(events, part, None)
    call_kernel(
        "attend_from_class_backward",
        [query, class_key_value, key_value, added, gradient, offsets],
        _numbers(part, query.shape[1], heads),
        [query_slopes, class_slopes, slopes, added_slopes],
        like=query,
    )  # fmt: skip


def _offsets(
    events: EventRows, part: slice, bias: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    offsets = events.offsets[part.start : part.stop + 1]
    if bias is None:
        return offsets, None, None
    return offsets, bias, events.pair_offsets[part.start : part.stop + 1]
