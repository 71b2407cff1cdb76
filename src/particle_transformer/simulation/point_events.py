"""Events as points: objects with momentum, mass and tag, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.events import Events, Ragged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MOST_OBJECTS", "OBJECT_FEATURES", "PointEvents"]

MOST_OBJECTS = 16
"""Objects of an event at most."""

OBJECT_FEATURES = ("log(pt)", "eta", "log(mass)", "tag")
"""Features of the objects in `PointEvents.to_events`, in order. The azimuth is in the momenta."""

_CHUNK = 20_000  # events whose pairs, up to 120 each, are in memory at once


@dataclass(frozen=True)
class PointEvents:
    """Events, in double precision.

    Attributes
    ----------
    counts
        int64 (events,): objects of each event.
    pt, eta, phi, mass, tag
        float64 (objects,): transverse momentum in GeV, pseudorapidity, azimuth in [−π, π), mass in
        GeV, tag in [−1, 1]; the objects of the first event first, in no particular order within an
        event.
    is_signal
        bool (events,).
    """

    counts: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    mass: NDArray[np.float64]
    tag: NDArray[np.float64]
    is_signal: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.counts.max(initial=0) > MOST_OBJECTS or self.counts.min(initial=0) < 0:
            worst = max(self.counts, key=abs)
            message = f"counts: got {worst} objects in an event, expected 0 to {MOST_OBJECTS}"
            raise SampleError(message)
        total, rows = int(self.counts.sum()), len(self.counts)
        for name, expected in (
            ("pt", total), ("eta", total), ("phi", total), ("mass", total), ("tag", total),
            ("is_signal", rows),
        ):  # fmt: skip
            if (found := getattr(self, name).shape) != (expected,):
                message = f"{name}: got {found}, expected ({expected},)"
                raise SampleError(message)

    def __len__(self) -> int:
        return len(self.counts)

    def chunks(self) -> Iterator[PointEvents]:
        """All events in order, in pieces small enough for all their pairs to be in memory."""
        ends = np.cumsum(self.counts)
        for start in range(0, len(self), _CHUNK):
            some = slice(start, start + _CHUNK)
            rows = slice(ends[start] - self.counts[start], ends[some][-1])
            yield PointEvents(
                self.counts[some], self.pt[rows], self.eta[rows], self.phi[rows], self.mass[rows],
                self.tag[rows], self.is_signal[some],
            )  # fmt: skip

    def to_events(self) -> Events:
        """What a network sees: one collection ``objects``, and their number.

        Returns
        -------
        Events
            Process 0 is background, 1 is signal; the features are `OBJECT_FEATURES`. The momenta
            are massless, as those whose pairs have the resonance's mass.
        """
        columns = [np.log(self.pt), self.eta, np.log(self.mass), self.tag]
        features = np.stack(columns, axis=1)  # (objects, 4)
        direction = [np.cos(self.phi), np.sin(self.phi), np.sinh(self.eta), np.cosh(self.eta)]
        momenta = self.pt[:, np.newaxis] * np.stack(direction, axis=1)  # (objects, 4)
        objects = {"objects": Ragged.of(features, self.counts, momenta)}
        return Events.of(objects, self.counts[:, np.newaxis], self.is_signal)
