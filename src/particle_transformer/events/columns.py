"""Prepared events as columns: ragged features, weights, identities. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["CHUNK", "Events", "Ragged"]

CHUNK = 65_536
"""Events in a piece of `Events.chunks` at most."""


@dataclass(frozen=True)
class Ragged:
    """One collection: the objects of all events end to end.

    Attributes
    ----------
    values
        float32 (objects, features): evaluated feature expressions in physical units.
    offsets
        int64 (events + 1,): event i owns the rows offsets[i]:offsets[i + 1].
    momenta
        float32 (objects, 4): px, py, pz, E in GeV; None where the collection has no momentum.
    """

    values: NDArray[np.float32]
    offsets: NDArray[np.int64]
    momenta: NDArray[np.float32] | None = None

    @staticmethod
    def of(values: ArrayLike, counts: ArrayLike, momenta: ArrayLike | None = None) -> Ragged:
        """A collection of arrays of one's own.

        Parameters
        ----------
        values
            (objects, features), those of the first event first.
        counts
            Integer (events,): objects of each event.
        momenta
            (objects, 4) or None.

        Raises
        ------
        SampleError
            If there are more or fewer objects than the counts say.

        Examples
        --------
        >>> from particle_transformer.events import Ragged
        >>> jets = Ragged.of([[120.0], [45.0], [60.0]], counts=[2, 0, 1])  # three events
        >>> jets.offsets.tolist()
        [0, 2, 2, 3]
        """
        counts = np.asarray(counts, dtype=np.int64)
        objects = np.ascontiguousarray(values, dtype=np.float32)
        vectors = None if momenta is None else np.ascontiguousarray(momenta, dtype=np.float32)
        for name, array, width in (("values", objects, "features"), ("momenta", vectors, "4")):
            if array is not None and (array.ndim != 2 or len(array) != counts.sum()):
                message = f"{name}: got {array.shape}, expected ({counts.sum()}, {width})"
                raise SampleError(message)
        return Ragged(objects, np.concatenate([[0], np.cumsum(counts)]), vectors)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Objects per event, int64 (events,)."""
        return np.diff(self.offsets)

    def take(self, index: NDArray[np.int64]) -> Ragged:
        """The collection of the events `index` (int64 (selected,)), in that order."""
        starts = self.offsets[index]
        counts = self.offsets[index + 1] - starts
        offsets = np.zeros(len(index) + 1, dtype=np.int64)
        np.cumsum(counts, out=offsets[1:])
        # Row r of event e is starts[e] + (r − offsets[e]): one arange shifted per event.
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
        momenta = None if self.momenta is None else self.momenta[rows]
        return Ragged(self.values[rows], offsets, momenta)

    def slice(self, start: int, stop: int) -> Ragged:
        """The collection of the events start … stop − 1; the objects are a view."""
        first, last = self.offsets[start], self.offsets[stop]
        momenta = None if self.momenta is None else self.momenta[first:last]
        return Ragged(self.values[first:last], self.offsets[start : stop + 1] - first, momenta)

    @staticmethod
    def concatenate(parts: Sequence[Ragged]) -> Ragged:
        """Join the events of `parts` (at least one), in order."""
        ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
        offsets = [
            np.zeros(1, dtype=np.int64),
            *(part.offsets[1:] + end for part, end in zip(parts, ends[:-1], strict=True)),
        ]
        momenta = [part.momenta for part in parts if part.momenta is not None]
        return Ragged(
            np.concatenate([part.values for part in parts]),
            np.concatenate(offsets),
            np.concatenate(momenta) if len(momenta) == len(parts) else None,
        )


@dataclass(frozen=True)
class Events:
    """Events ready for the network and for evaluation; each column has one row per event.

    Attributes
    ----------
    objects
        Collections by name, in the order of the analysis file.
    event
        float32 (events, event features).
    spectators
        float32 (events, spectators): kept beside the features, never shown to the network; NaN
        in recorded data for what only simulation has.
    weight
        float64 (events,): the physics weight, signed; 1 for data.
    identity
        int64 (events, parts): what the fold hash reads.
    process
        int16 (events,): index into the manifest's list of processes.
    era
        int16 (events,): index into the manifest's list of eras.
    regions
        bool (events,) by region name: whether the event passes its selection.
    """

    objects: Mapping[str, Ragged]
    event: NDArray[np.float32]
    spectators: NDArray[np.float32]
    weight: NDArray[np.float64]
    identity: NDArray[np.int64]
    process: NDArray[np.int16]
    era: NDArray[np.int16]
    regions: Mapping[str, NDArray[np.bool_]]

    @staticmethod
    def of(
        objects: Mapping[str, Ragged],
        event: ArrayLike,
        process: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        identity: ArrayLike | None = None,
        spectators: ArrayLike | None = None,
    ) -> Events:
        """Events of arrays of one's own, of one era and without regions.

        Parameters
        ----------
        objects
            Collections by name.
        event
            (events, event features).
        process
            Integer (events,): index of the process.
        weight
            (events,): physics weight; None: 1.
        identity
            Integer (events,) or (events, parts): what the fold hash reads, as event numbers; None:
            the row, so that folds are those of this very table.
        spectators
            (events, spectators); None: there are none.

        Raises
        ------
        SampleError
            If something is not of one row per event.

        Examples
        --------
        >>> from particle_transformer.events import Events, Ragged
        >>> jets = Ragged.of([[120.0], [45.0], [60.0]], counts=[2, 0, 1])
        >>> events = Events.of({"jets": jets}, [[200.0], [310.0], [250.0]], process=[0, 1, 1])
        >>> len(events), events.weight.tolist()
        (3, [1.0, 1.0, 1.0])
        """
        rows = len(np.asarray(process))

        def column(values: ArrayLike, dtype: type[np.generic], name: str) -> NDArray[Any]:
            array = np.ascontiguousarray(values, dtype=dtype)
            if len(array) != rows:
                message = f"{name}: got {array.shape}, expected one row for each of {rows} events"
                raise SampleError(message)
            return array

        for name, ragged in objects.items():
            column(ragged.counts, np.int64, name)
        numbers = column(np.arange(rows) if identity is None else identity, np.int64, "identity")
        return Events(
            dict(objects),
            column(event, np.float32, "event"),
            column(
                np.empty((rows, 0)) if spectators is None else spectators, np.float32, "spectators"
            ),
            column(np.ones(rows) if weight is None else weight, np.float64, "weight"),
            numbers[:, np.newaxis] if numbers.ndim == 1 else numbers,
            column(process, np.int16, "process"),
            np.zeros(rows, dtype=np.int16),
            {},
        )

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, index: NDArray[np.int64]) -> Events:
        """The events `index` (int64 (selected,)), in that order."""
        return Events(
            {name: ragged.take(index) for name, ragged in self.objects.items()},
            **{name: getattr(self, name)[index] for name in _FLAT},
            regions={name: flags[index] for name, flags in self.regions.items()},
        )

    def slice(self, start: int, stop: int) -> Events:
        """The events start … stop − 1, as views."""
        return Events(
            {name: ragged.slice(start, stop) for name, ragged in self.objects.items()},
            **{name: getattr(self, name)[start:stop] for name in _FLAT},
            regions={name: flags[start:stop] for name, flags in self.regions.items()},
        )

    def chunks(self) -> Iterator[Events]:
        """All events in order, as views of at most `CHUNK` events."""
        for start in range(0, len(self), CHUNK):
            yield self.slice(start, min(start + CHUNK, len(self)))

    @staticmethod
    def concatenate(parts: Sequence[Events]) -> Events:
        """Join `parts` (at least one, with the same collections and regions), in order."""
        flat: dict[str, NDArray[Any]] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _FLAT
        }
        first = parts[0]
        return Events(
            {
                name: Ragged.concatenate([part.objects[name] for part in parts])
                for name in first.objects
            },
            **flat,
            regions={
                name: np.concatenate([part.regions[name] for part in parts])
                for name in first.regions
            },
        )


_FLAT = ("event", "spectators", "weight", "identity", "process", "era")
