"""The events of one role, with what the loss needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.events.rowset import RowSet, RowSetBuilder
from particle_transformer.losses.weights import TrainingWeights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from particle_transformer.events.columns import Events
    from particle_transformer.events.source import EventSource
    from particle_transformer.losses.weights import Balance, NegativeWeights

__all__ = ["Sample", "make_sample"]


@dataclass(frozen=True)
class Sample:
    """Training or validation events; `make_sample` makes one.

    Attributes
    ----------
    source
        The table that has the events among others.
    rows
        Which of its rows they are.
    target
        int64 (processes,): index of the class of each process; 1 is signal for a network with
        one logit.
    weights
        The training weights, normalised to these events.
    """

    source: EventSource
    rows: RowSet
    target: NDArray[np.int64]
    weights: TrainingWeights

    def __len__(self) -> int:
        return len(self.rows)

    def chunks(self) -> Iterator[Events]:
        """The events in the order of the table, in pieces small enough for memory."""
        for chunk, flags in _flagged(self.source, self.rows):
            yield chunk.take(np.flatnonzero(flags))

    def strata(self) -> list[RowSet]:
        """The rows of each class that has events, in the order of the classes."""
        classes = np.unique(self.target[self.weights.events > 0])
        builders = [RowSetBuilder(len(self.source)) for _ in classes]
        for chunk, flags in _flagged(self.source, self.rows):
            target = self.target[chunk.process]
            for value, builder in zip(classes, builders, strict=True):
                builder.extend(flags & (target == value))
        return [builder.finish() for builder in builders]


def make_sample(
    source: EventSource,
    rows: RowSet | NDArray[np.int64],
    target: ArrayLike,
    *,
    balance: Balance = "class",
    negative_weights: NegativeWeights = "keep",
    class_names: Sequence[str] | None = None,
    process_names: Sequence[str] | None = None,
    role: str = "training",
) -> Sample:
    """Choose events of a table, and fit their training weights in one pass over them.

    Parameters
    ----------
    source
        The table: `Events` in memory, or rows of a store.
    rows
        The events: a set of rows, or int64 (selected,) in any order.
    target
        Integer (processes,): index of the class of each process; 1 is signal for a network with
        one logit. Processes without an event here may have any.
    balance, negative_weights, class_names, process_names
        As in `TrainingWeights.fit`; the class names are those of the targets.
    role
        What the events are for, for error messages.

    Raises
    ------
    SampleError
        If there is no event, or the weights cannot be normalised.
    """
    if not isinstance(rows, RowSet):
        rows = RowSet.from_index(rows, len(source))
    if not len(rows):
        message = f"no {role} event; loosen the selection or add events"
        raise SampleError(message)
    target = np.asarray(target, dtype=np.int64)
    weights = TrainingWeights.fit(
        ((chunk.weight[flags], chunk.process[flags]) for chunk, flags in _flagged(source, rows)),
        target,
        balance=balance,
        negative_weights=negative_weights,
        class_names=class_names,
        process_names=process_names,
    )
    return Sample(source, rows, target, weights)


def _flagged(source: EventSource, rows: RowSet) -> Iterator[tuple[Events, NDArray[np.bool_]]]:
    """The pieces of the whole table, and which of their events are among `rows`."""
    start = 0
    for chunk in source.chunks():
        yield chunk, rows.flags(start, start + len(chunk))
        start += len(chunk)
