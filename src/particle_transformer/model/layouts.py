"""How the objects of a batch lie in memory; everything else in the network works on rows.

`PackedLayout` is for training and inference: objects end to end, nothing is computed on padding.
`DenseLayout` is for export and for attention maps: a grid of events and slots, of fixed shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch

from particle_transformer.model import kernels
from particle_transformer.model.attention import attend_dense, attend_from_class_dense
from particle_transformer.model.fused.parts import EventRows, draw_seed
from particle_transformer.model.packing import EventGrid, PairList, interleave, pair_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["DenseLayout", "Layout", "PackedLayout"]


class Layout(Protocol):
    """What the network asks of a layout; `rows` is (objects,) or (events, slots)."""

    @property
    def events(self) -> int:
        """Number of events."""

    @property
    def spans(self) -> EventRows | None:
        """Rows and pairs of each event, for the fused branches; None where rows are a grid."""

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Objects of all collections (rows, width), from those of each collection."""

    def event_rows(self, x: Tensor) -> Tensor:
        """One row for each event, in the form of a collection with one object, of (events, width)."""

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two sides, (pairs, width) each, of every pair of objects `x` (rows, width)."""

    def attend(
        self, query_key_value: Tensor, bias: Tensor | None, heads: int, dropout: float
    ) -> Tensor:
        """Attention (rows, width) inside events, from (rows, 3 × width) and (pairs, heads)."""

    def attend_from_class(
        self, query: Tensor, class_key_value: Tensor, key_value: Tensor, heads: int, dropout: float
    ) -> Tensor:
        """Attention (events, width) of the class token to itself and the objects."""


class PackedLayout:
    """The objects of all events end to end: rows are (objects,).

    Parameters
    ----------
    offsets
        int64 (events + 1,) of each collection.
    """

    def __init__(self, offsets: Sequence[Tensor]) -> None:
        if len(offsets) == 1:
            self._destination = None
            self.offsets = offsets[0].contiguous()
        else:
            self._destination, self.offsets = interleave(offsets)

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    @cached_property
    def spans(self) -> EventRows:
        """Rows and pairs of each event."""
        return EventRows(self.offsets, pair_offsets(self.offsets))

    @cached_property
    def _grid(self) -> EventGrid:
        return EventGrid.from_offsets(self.offsets)

    @cached_property
    def _pairs(self) -> PairList:
        return PairList.from_offsets(self.offsets)

    def completed(self, *, pairs: bool) -> PackedLayout:
        """The same, with what depends on the numbers of objects computed now.

        Parameters
        ----------
        pairs
            Whether pairs of objects will be asked for.
        """
        if pairs:
            self._pairs  # noqa: B018
            self.spans  # noqa: B018
        return self

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Move the rows of all collections to the places of their events."""
        if self._destination is None:
            return parts[0]
        rows = torch.cat(list(parts))
        return torch.empty_like(rows).index_copy(0, self._destination, rows)

    def event_rows(self, x: Tensor) -> Tensor:
        """`x` as it is: (events, width)."""
        return x

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Every two objects of an event once."""
        return x[self._pairs.first], x[self._pairs.second]

    def attend(
        self, query_key_value: Tensor, bias: Tensor | None, heads: int, dropout: float
    ) -> Tensor:
        """Attend in the kernels where they can be used, else on a grid."""
        if bias is not None:
            bias = bias.to(query_key_value.dtype)  # under autocast they may differ
        if kernels.usable(query_key_value):
            pairs = None if bias is None else self.spans.pair_offsets
            attended: Tensor = kernels.attend(
                query_key_value, self.offsets, bias, pairs, heads, dropout, draw_seed(dropout)
            )
            return attended
        grid = self._grid
        dense = None if bias is None else self._pairs.spread(bias, grid)
        attended = attend_dense(grid.scatter(query_key_value), grid.occupied, dense, heads, dropout)
        return grid.gather(attended)

    def attend_from_class(
        self, query: Tensor, class_key_value: Tensor, key_value: Tensor, heads: int, dropout: float
    ) -> Tensor:
        """Attend in the kernels where they can be used, else on a grid."""
        if kernels.usable(query):
            attended: Tensor = kernels.attend_from_class(
                query, class_key_value, key_value, self.offsets, heads, dropout, draw_seed(dropout)
            )
            return attended
        grid = self._grid
        return attend_from_class_dense(
            query, class_key_value, grid.scatter(key_value), grid.occupied, heads, dropout
        )


@dataclass(frozen=True)
class DenseLayout:
    """A grid of events and slots: rows are (events, slots).

    Attributes
    ----------
    occupied
        bool (events, slots), the slots of all collections side by side.
    object_maps, class_maps
        Where given, these get the attention weights of each block.
    """

    occupied: Tensor
    object_maps: list[Tensor] | None = field(default=None)
    class_maps: list[Tensor] | None = field(default=None)

    @property
    def events(self) -> int:
        """Number of events."""
        return self.occupied.shape[0]

    @property
    def spans(self) -> None:
        """None."""

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Put the slots of all collections side by side."""
        return torch.cat(list(parts), 1)  # (events, slots, width)

    def event_rows(self, x: Tensor) -> Tensor:
        """`x` in a slot of its own: (events, 1, width)."""
        return x[:, None]

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Every slot with every slot: (events, slots, slots, width) each."""
        slots = x.shape[1]
        return (
            x[:, :, None].expand(-1, -1, slots, -1),
            x[:, None].expand(-1, slots, -1, -1),
        )

    def attend(
        self, query_key_value: Tensor, bias: Tensor | None, heads: int, dropout: float
    ) -> Tensor:
        """Attend on the grid."""
        if bias is not None:
            slot = torch.arange(bias.shape[1], device=bias.device)  # (slots,)
            itself = slot[:, None] == slot  # no torch.eye: ONNX Runtime has none of booleans
            bias = bias.masked_fill(itself[..., None], 0.0).permute(0, 3, 1, 2)
        return attend_dense(query_key_value, self.occupied, bias, heads, dropout, self.object_maps)

    def attend_from_class(
        self, query: Tensor, class_key_value: Tensor, key_value: Tensor, heads: int, dropout: float
    ) -> Tensor:
        """Attend on the grid."""
        return attend_from_class_dense(
            query, class_key_value, key_value, self.occupied, heads, dropout, self.class_maps
        )
