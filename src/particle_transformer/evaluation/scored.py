"""Scored events: what evaluation starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError, nearest
from particle_transformer.events.classes import DATA, SIGNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["ScoredEvents"]


@dataclass(frozen=True)
class ScoredEvents:
    """Simulated events with their scores and physics weights.

    The same class holds the test events, each scored by the one network that never saw it, and
    the validation events, where an event may occur once for each network.

    Attributes
    ----------
    score
        float64 (events,): probability of signal, finite.
    weight
        float64 (events,): signed physics weight, finite.
    is_signal
        bool (events,).
    process
        int16 (events,): index into `processes`.
    fold
        int16 (events,): the fold of the network that gave the score.
    processes
        Names of the processes.
    process_class
        Class of each process: ``"signal"`` or a background; events of class ``"data"`` have no
        place here.
    regions
        By name of the region: bool (events,), whether the event is in it.

    Raises
    ------
    SampleError
        If the columns disagree, or a score or weight is not finite.
    """

    score: NDArray[np.float64]
    weight: NDArray[np.float64]
    is_signal: NDArray[np.bool_]
    process: NDArray[np.int16]
    fold: NDArray[np.int16]
    processes: tuple[str, ...]
    process_class: tuple[str, ...]
    regions: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        events = len(self.score)
        columns = {
            "weight": self.weight,
            "is_signal": self.is_signal,
            "process": self.process,
            "fold": self.fold,
            **{f"regions[{name!r}]": mask for name, mask in self.regions.items()},
        }
        for name, column in columns.items():
            if column.shape != (events,):
                message = f"scored events: {name} has shape {column.shape}, expected ({events},)"
                raise SampleError(message)
        for name, column in (("score", self.score), ("weight", self.weight)):
            bad = int(np.sum(~np.isfinite(column)))
            if bad:
                message = f"scored events: {name} is not finite in {bad} of {events} events"
                raise SampleError(message)
        if len(self.process_class) != len(self.processes):
            message = (
                f"scored events: {len(self.process_class)} classes for "
                f"{len(self.processes)} processes, expected one each"
            )
            raise SampleError(message)
        if DATA in self.process_class:
            name = self.processes[self.process_class.index(DATA)]
            message = f"scored events: process {name} is of class data, expected simulation only"
            raise SampleError(message)
        if events and not 0 <= self.process.min() <= self.process.max() < len(self.processes):
            message = (
                f"scored events: process indices {self.process.min()} to {self.process.max()}, "
                f"expected 0 to {len(self.processes) - 1}"
            )
            raise SampleError(message)
        expected = np.array([name == SIGNAL for name in self.process_class], dtype=bool)
        wrong = self.is_signal != expected[self.process] if events else np.zeros(0, dtype=bool)
        if wrong.any():
            name = self.processes[self.process[np.argmax(wrong)]]
            message = f"scored events: is_signal disagrees with the class of process {name}"
            raise SampleError(message)

    def __len__(self) -> int:
        return len(self.score)

    @property
    def backgrounds(self) -> tuple[int, ...]:
        """Indices of the background processes."""
        return tuple(i for i, name in enumerate(self.process_class) if name != SIGNAL)

    @property
    def signals(self) -> tuple[int, ...]:
        """Indices of the signal processes."""
        return tuple(i for i, name in enumerate(self.process_class) if name == SIGNAL)

    def select(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> ScoredEvents:
        """Events of a bool mask (events,), or in the order of an index array."""
        return ScoredEvents(
            score=self.score[mask],
            weight=self.weight[mask],
            is_signal=self.is_signal[mask],
            process=self.process[mask],
            fold=self.fold[mask],
            processes=self.processes,
            process_class=self.process_class,
            regions={name: inside[mask] for name, inside in self.regions.items()},
        )

    def in_any(self, regions: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each event is in at least one of `regions`; bool (events,).

        Raises
        ------
        SampleError
            If a region is unknown.
        """
        inside = np.zeros(len(self), dtype=bool)
        for name in regions:
            if name not in self.regions:
                message = f"unknown region {name!r} ({nearest(name, self.regions)})"
                raise SampleError(message)
            inside |= self.regions[name]
        return inside
