"""What boosted trees are given of the events of `particle_transformer.simulation.known_density`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.simulation.point_events import MOST_OBJECTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.simulation.point_events import PointEvents

__all__ = ["engineered"]

LISTED = 8
"""Objects whose own quantities are given, by falling pt and by falling tag."""
LEADING = {"pt": 6, "tag": 4}
"""Objects, the first in either order, of which all pairs are given."""
TAGGED = (0.0, 0.5, 0.8)
"""Least tags of the objects that are counted."""


def engineered(points: PointEvents) -> NDArray[np.float32]:
    """Quantities of each event, NaN where it has too few objects; float32 (events, quantities).

    Number of objects and of tagged ones, sums of pt, mass and tag, the sum of the transverse
    momenta as vectors, mass of all objects; pt, η, mass and tag of the first objects by falling pt
    and by falling tag; mass and ΔR of all pairs of the leading ones in either order; least,
    quartiles and largest of both among all pairs; both of the pair of highest tags and of the
    closest pair.
    """
    return np.concatenate([_engineered(part) for part in points.chunks()])


def _engineered(points: PointEvents) -> NDArray[np.float32]:
    by_pt = _ordered(points, points.pt)
    pt, eta, phi, mass, tag = by_pt
    across, along = (np.nansum(pt * of(phi), axis=1) for of in (np.cos, np.sin))
    forward, energy = (np.nansum(pt * of(eta), axis=1) for of in (np.sinh, np.cosh))
    columns = [
        points.counts,
        *((tag > least).sum(1) for least in TAGGED),
        *(np.nansum(values, axis=1) for values in (pt, mass, tag)),
        np.hypot(across, along),
        np.sqrt(np.maximum(energy**2 - forward**2 - across**2 - along**2, 0)),
    ]
    masses, distances = _pairs(by_pt)
    first, second = np.triu_indices(MOST_OBJECTS, 1)
    tags = tag[:, first] + tag[:, second]
    for quantity in (masses, distances):
        columns += [_at(quantity, tags), _at(quantity, -distances)]
        columns += list(_quartiles(quantity, points.counts).T)
    for order, leading in LEADING.items():
        grid = by_pt if order == "pt" else _ordered(points, points.tag)
        columns += [column for values in grid[[0, 1, 3, 4], :, :LISTED] for column in values.T]
        for quantity in _pairs(grid):
            columns += list(quantity[:, second < leading].T)
    return np.stack(columns, axis=1).astype(np.float32)


def _ordered(points: PointEvents, key: NDArray[np.float64]) -> NDArray[np.float64]:
    """pt, η, φ, mass, tag by falling `key`; float64 (5, events, MOST_OBJECTS), NaN beyond."""
    owner = np.repeat(np.arange(len(points)), points.counts)
    order = np.lexsort([-key, owner])
    place = np.arange(len(owner)) - (np.cumsum(points.counts) - points.counts)[owner]
    grid = np.full((5, len(points), MOST_OBJECTS), np.nan)
    columns = (points.pt, points.eta, points.phi, points.mass, points.tag)
    for layer, values in zip(grid, columns, strict=True):
        layer[owner, place] = values[order]
    return grid


def _pairs(grid: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mass and ΔR of the pairs, NaN where there is none; float64 (events, pairs) each."""
    pt, eta, phi = grid[:3]
    one, other = np.triu_indices(MOST_OBJECTS, 1)
    delta_eta = eta[:, one] - eta[:, other]
    delta_phi = np.abs((phi[:, one] - phi[:, other] + np.pi) % (2 * np.pi) - np.pi)
    opening = 2 * (np.cosh(delta_eta) - np.cos(delta_phi))
    return np.sqrt(pt[:, one] * pt[:, other] * opening), np.hypot(delta_eta, delta_phi)


def _at(quantity: NDArray[np.float64], key: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quantity of the pair with the largest key, NaN without a pair; float64 (events,)."""
    place = np.argmax(np.where(np.isnan(key), -np.inf, key), axis=1)
    return quantity[np.arange(len(quantity)), place]


def _quartiles(quantity: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Least, quartiles and largest over the pairs, NaN without one; float64 (events, 5)."""
    rising = np.sort(quantity, axis=1)  # NaN is last
    pairs = counts * (counts - 1) // 2
    place = (np.maximum(pairs - 1, 0)[:, np.newaxis] * np.linspace(0, 1, 5)).round()
    return np.take_along_axis(rising, place.astype(np.int64), axis=1)
