"""The values that expressions compute with: one per event, or one per object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Value"]


@dataclass(frozen=True)
class Value:
    """One column.

    Attributes
    ----------
    values
        Event-level: (events,), or 0-d for a constant. Object-level: (objects,), the values of
        the objects of all events end to end. Any boolean, integer or floating dtype. For a
        collection as such (the name ``jets``) only the offsets count; the values may be anything
        of the right length.
    collection
        The collection an object-level value belongs to; None for an event-level one.
    offsets
        int64 (events + 1,), object-level only: event i owns values[offsets[i]:offsets[i + 1]];
        from 0 to the number of objects.
    """

    values: NDArray[Any]
    collection: str | None = None
    offsets: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if (self.collection is None) != (self.offsets is None):
            message = (
                "an object-level Value has a collection and offsets, an event-level one neither"
            )
            raise ValueError(message)
        if self.offsets is not None and self.values.shape != (self.offsets[-1],):
            message = f"values of shape {self.values.shape} for {self.offsets[-1]} objects"
            raise ValueError(message)
