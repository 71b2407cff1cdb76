"""Events as tables for methods that take a fixed number of columns; NaN is "there is none"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.events import Events, Ragged
    from particle_transformer.training.sample import Sample

__all__ = ["engineered", "raw", "slots_of"]

_LEADING = 2
_SHARE = 0.999
"""Share of the events all of whose objects have a slot, where the analysis sets no cap."""


def slots_of(analysis: Analysis, training: Sample) -> dict[str, int]:
    """Slots of each collection: its ``max``, or what all but one training event in 1000 need."""
    found = {}
    counts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in analysis.objects}
    for events in training.chunks():
        for name, ragged in events.objects.items():
            counts[name].append(ragged.counts)
    for name, collection in analysis.objects.items():
        most = np.concatenate(counts[name])
        needed = max(1, int(np.quantile(most, _SHARE, method="higher")))
        found[name] = needed if collection.max is None else min(collection.max, max(1, most.max()))
    return {name: int(slots) for name, slots in found.items()}


def raw(events: Events, slots: Mapping[str, int]) -> NDArray[np.float32]:
    """Event features, then every feature (and momentum) of every object in fixed slots.

    Parameters
    ----------
    events
        The events.
    slots
        Slots by collection; further objects are left out.

    Returns
    -------
    float32 (events, columns)
    """
    columns = [events.event]
    for name, ragged in events.objects.items():
        grid = _grid(_inputs(ragged), ragged, slots[name])
        columns.append(grid.reshape(len(events), -1))
    return np.concatenate(columns, axis=1)


def engineered(events: Events, spectators: Sequence[int] = ()) -> NDArray[np.float32]:
    """Event features, then engineered ones.

    Parameters
    ----------
    events
        The events.
    spectators
        Columns of the spectators that are the engineered features. None given: of each collection
        the multiplicity, the features of its two leading objects, and the smallest, largest, mean
        and sum of each feature; where there are momenta, also the mass of the two leading objects
        and of all.

    Returns
    -------
    float32 (events, columns)
    """
    if len(spectators):
        return np.concatenate([events.event, events.spectators[:, list(spectators)]], axis=1)
    columns = [events.event]
    for ragged in events.objects.values():
        columns.append(ragged.counts[:, np.newaxis].astype(np.float32))
        columns.append(_grid(ragged.values, ragged, _LEADING).reshape(len(events), -1))
        columns += _summaries(ragged)
        if ragged.momenta is not None:
            leading = np.nan_to_num(_grid(ragged.momenta, ragged, _LEADING)).sum(axis=1)
            masses = [_mass(leading), _mass(_sums(ragged.momenta, ragged.offsets))]
            enough = ragged.counts[:, np.newaxis] >= 2
            columns.append(np.where(enough, np.stack(masses, axis=1), np.nan).astype(np.float32))
    return np.concatenate(columns, axis=1)


def _inputs(ragged: Ragged) -> NDArray[np.float32]:
    if ragged.momenta is None:
        return ragged.values
    return np.concatenate([ragged.values, ragged.momenta], axis=1)


def _grid(rows: NDArray[np.float32], ragged: Ragged, slots: int) -> NDArray[np.float32]:
    """Rows (objects, width) as (events, slots, width)."""
    counts = ragged.counts
    grid = np.full((len(counts), slots, rows.shape[1]), np.nan, dtype=np.float32)
    owner = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(owner)) - ragged.offsets[owner]
    inside = place < slots
    grid[owner[inside], place[inside]] = rows[inside]
    return grid


def _summaries(ragged: Ragged) -> list[NDArray[np.float32]]:
    """Smallest, largest, mean and sum of each feature: four of float32 (events, features)."""
    width = ragged.values.shape[1]
    filled = np.flatnonzero(ragged.counts)
    # Empty events own no row, so that the rest begin where the next one's objects do.
    starts = ragged.offsets[:-1][filled]
    found = []
    for function in (np.minimum, np.maximum):
        column = np.full((len(ragged.counts), width), np.nan, dtype=np.float32)
        if len(filled):
            column[filled] = function.reduceat(ragged.values, starts, axis=0)
        found.append(column)
    sums = _sums(ragged.values, ragged.offsets)
    with np.errstate(invalid="ignore"):
        mean = sums / ragged.counts[:, np.newaxis]
    return [*found, mean.astype(np.float32), sums.astype(np.float32)]


def _sums(rows: NDArray[np.float32], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the rows of each event: float64 (events, width), 0 without any."""
    total = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=total[1:])
    return np.asarray(total[offsets[1:]] - total[offsets[:-1]])


def _mass(momenta: NDArray[np.floating]) -> NDArray[np.float64]:
    """Invariant mass, float64 (events,), of px, py, pz, E (events, 4)."""
    double = momenta.astype(np.float64)
    square = double[:, 3] ** 2 - np.sum(double[:, :3] ** 2, axis=1)
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))
