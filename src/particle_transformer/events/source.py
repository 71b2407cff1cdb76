"""What batches are drawn from: events in memory, or the rows of a prepared store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from particle_transformer.events.columns import Events

__all__ = ["EventSource"]


class EventSource(Protocol):
    """A table of events; `Events` is one."""

    def __len__(self) -> int:
        """Rows of the table."""

    def take(self, index: NDArray[np.int64], /) -> Events:
        """The events `index` (int64 (selected,)), in that order, in memory of their own."""

    def chunks(self) -> Iterator[Events]:
        """All events in order, in pieces small enough for memory.

        A piece may be a view, valid until the next one is asked for.
        """
