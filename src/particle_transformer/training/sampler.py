"""In which order the events of an epoch come, and how they are cut into batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from torch.utils.data import Sampler

from particle_transformer.errors import SampleError
from particle_transformer.events.permutation import Permutation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events.rowset import RowSet

__all__ = ["BatchSampler", "Sampling"]

Sampling = Literal["shuffled", "stratified"]

_BLOCK = 65_536
"""Events whose place in the order is computed at once, at least."""


class BatchSampler(Sampler["NDArray[np.int64]"]):
    """Cut the events of an epoch into batches of nearly equal size, and batches among ranks.

    Every event comes once per epoch. A rest of a few events would get a step of its own; so the
    sizes of batches differ by one at most. With several ranks a batch is what all of them take in
    one step: each takes a consecutive part of it, and their sizes differ by one at most. So the
    steps are the same for any number of ranks, and no rank waits for another at the end.

    The order depends on nothing but (seed, epoch) and the events; it is computed as it is needed
    (`Permutation`).

    Parameters
    ----------
    strata
        The events: the rows of each class. If there are several, every batch, and every rank's
        part of it, has each class in the proportion of all events, to within one event for each
        further class; each class is shuffled by itself. For a plain shuffle give one set of all
        rows.
    batch_size
        Largest size of a batch, of all ranks together.
    seed
        Of the order; None keeps the order of the rows.
    parts
        Batches in which the `batch_size` events of a step come, one after the other.
    rank, ranks
        Which part of each batch, of how many.
    reshuffle
        Whether each epoch has another order, or all have that of the first.

    Raises
    ------
    SampleError
        If a batch would have fewer events than there are ranks.
    """

    def __init__(
        self,
        strata: Sequence[RowSet],
        batch_size: int,
        seed: int | None,
        *,
        parts: int = 1,
        rank: int = 0,
        ranks: int = 1,
        reshuffle: bool = True,
    ) -> None:
        self.strata = list(strata)
        self.events = sum(map(len, strata))
        self.batches = -(-self.events // batch_size) * parts
        self.seed = seed
        self.parts = parts
        self.rank = rank
        self.ranks = ranks
        self.reshuffle = reshuffle
        self.epoch = 0
        if self.events // self.batches < ranks:
            message = (
                f"a step of {self.events * parts // self.batches} events in {parts} parts among "
                f"{ranks} ranks: expected at least one event for each; give a larger batch_size, "
                "a smaller accumulate or fewer devices"
            )
            raise SampleError(message)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls this at the start of each epoch."""
        if self.reshuffle:
            self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return self.batches_from(0)

    def batches_from(self, first: int) -> Iterator[NDArray[np.int64]]:
        """The epoch's batches from number `first` on: int64 (events of the batch,) rows."""
        orders = self._orders()
        step = max(1, _BLOCK * self.batches * self.ranks // self.events)
        for begin in range(first, self.batches, step):
            spans = [self.span(b) for b in range(begin, min(begin + step, self.batches))]
            positions = np.concatenate([np.arange(*span) for span in spans])
            rows = self._rows(positions, orders)
            yield from np.split(rows, np.cumsum([stop - start for start, stop in spans[:-1]]))

    def span(self, batch: int) -> tuple[int, int]:
        """First position in the epoch's order of this rank's part of a batch, and the end."""
        start = batch * self.events // self.batches
        size = (batch + 1) * self.events // self.batches - start
        return (
            start + self.rank * size // self.ranks,
            start + (self.rank + 1) * size // self.ranks,
        )

    def share(self, batch: int) -> float:
        """Events of this rank's part of a batch over those of an average part of its step.

        A step's gradient is the mean over its batches and ranks; with each loss multiplied by its
        share it is that of the mean over the step's events.
        """
        first = batch - batch % self.parts
        begin = first * self.events // self.batches
        end = (first + self.parts) * self.events // self.batches
        start, stop = self.span(batch)
        return (stop - start) * self.parts * self.ranks / (end - begin)

    def _orders(self) -> list[_Order]:
        if self.seed is None:
            return [_in_order for _ in self.strata]
        return [
            Permutation(len(rows), self.seed, self.epoch, number)
            for number, rows in enumerate(self.strata)
        ]

    def _rows(self, positions: NDArray[np.int64], orders: list[_Order]) -> NDArray[np.int64]:
        """Rows of the events at `positions` of the epoch's order."""
        found = np.empty(len(positions), dtype=np.int64)
        before = self._events_before(positions)
        after = self._events_before(positions + 1)
        for rows, order, start, stop in zip(self.strata, orders, before, after, strict=True):
            own = stop > start  # the one class that gains an event here
            found[own] = rows.select(order(start[own]))
        return found

    def _events_before(self, positions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Events of each class before `positions`: each gets its share, as evenly as can be.

        The first p positions are dealt to the last class and the others together, ⌊p n / N⌋ to
        the others; what they got is dealt among them in the same way. Each step raises each
        count by 0 or 1, so that exactly one class gains an event at each position.
        """
        counts = []
        left = positions
        total = self.events
        for rows in reversed(self.strata[1:]):
            others = left * (total - len(rows)) // total
            counts.append(left - others)
            left = others
            total -= len(rows)
        return [left, *reversed(counts)]


class _Order(Protocol):
    def __call__(self, positions: NDArray[np.int64], /) -> NDArray[np.int64]: ...


def _in_order(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    return positions
