"""Attention weights, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from particle_transformer.model.inputs import PaddedEvents

__all__ = ["AttentionMaps"]


@dataclass(frozen=True)
class AttentionMaps:
    """The attention weights of every block; those of a query sum to 1.

    Attributes
    ----------
    objects
        (events, heads, slots, slots) for each attention block: from the slot of the third axis to
        the slot of the fourth; 0 where either is padded.
    class_token
        (events, heads, 1 + slots) for each class block: from the class token to itself (first)
        and to the slots.
    slots
        Where the slots of each collection lie on those axes, in the order of the arguments. What
        is behind the last is the token of the event features, if there is one.
    """

    objects: tuple[Tensor, ...]
    class_token: tuple[Tensor, ...]
    slots: dict[str, slice]

    @staticmethod
    def from_grid(
        grid: PaddedEvents, object_maps: Sequence[Tensor], class_maps: Sequence[Tensor]
    ) -> AttentionMaps:
        """Name the slots, and clear the rows of padded ones, which mean nothing."""
        slots: dict[str, slice] = {}
        stop = 0
        for name, occupied in grid.occupied.items():
            start, stop = stop, stop + occupied.shape[1]
            slots[name] = slice(start, stop)
        cleared = []
        for weights in object_maps:
            kept = weights.clone()
            for name, occupied in grid.occupied.items():
                padded = ~occupied[:, None, :, None]  # (events, 1, slots of the collection, 1)
                kept[:, :, slots[name]] = kept[:, :, slots[name]].masked_fill(padded, 0.0)
            cleared.append(kept)
        return AttentionMaps(
            tuple(cleared), tuple(weights[:, :, 0] for weights in class_maps), slots
        )
