"""A resonance of mass m in two jets over a falling spectrum of dijets, simulated in numpy.

Two-body phase space in the rest frame, a boost along the beam, jets from radiation, and a detector
that smears. The mass of the two hardest jets tells signal from background, but where it should be
depends on m.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.events import Events, Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESOLUTION = 0.15
"""Relative resolution of a jet's pt."""


def dijets(mass: NDArray[np.float64], process: int, seed: int, *, flat: bool) -> Events:
    """Events in which a system of `mass` (float64 (events,), GeV) goes into two jets.

    Parameters
    ----------
    mass
        Of the two-jet system before radiation and smearing.
    process
        Index of the process of all events.
    seed
        Of the random numbers; it is part of the identities.
    flat
        Whether the decay is isotropic; else it is forward, as t-channel exchange is.
    """
    rng = np.random.default_rng(seed)
    number = len(mass)
    cosine = rng.uniform(-1, 1, number)
    if not flat:
        cosine = np.tanh(1.2 * np.arctanh(cosine))
    sine = np.sqrt(1 - cosine**2)
    boost = rng.normal(0, 0.6, number)  # rapidity of the system
    jets = []
    for sign in (1, -1):
        pt = mass / 2 * sine * rng.lognormal(0, RESOLUTION, number)
        eta = boost + sign * np.arctanh(cosine)
        jets.append(np.stack([pt, eta, rng.gamma(3, 0.03, number) * pt], 1))
    radiated = rng.poisson(0.7, number)
    for place in range(2):
        pt = 30 + rng.exponential(40, number)
        jet = np.stack([pt, rng.normal(0, 2, number), rng.gamma(3, 0.03, number) * pt], 1)
        jets.append(np.where((radiated > place)[:, None], jet, 0))
    every = np.stack(jets, 1)  # (events, jets, features)
    seen = (every[:, :, 0] > 30) & (abs(every[:, :, 1]) < 4)
    rows = every[seen]
    values = np.stack([np.log(rows[:, 0]), rows[:, 1], np.log(rows[:, 2])], 1)
    return Events(
        {"jets": Ragged(values.astype(np.float32), np.append(0, np.cumsum(seen.sum(1))))},
        np.empty((number, 0), dtype=np.float32),
        np.empty((number, 0), dtype=np.float32),
        np.ones(number),
        np.stack([np.full(number, seed), np.arange(number)], 1),
        np.full(number, process, dtype=np.int16),
        np.zeros(number, dtype=np.int16),
        {},
    )


def resonance(mass: float, number: int, process: int, seed: int) -> Events:
    """Signal: a peak 3 % wide."""
    rng = np.random.default_rng([seed, 1])
    return dijets(mass * rng.normal(1, 0.03, number), process, seed, flat=True)


def continuum(number: int, process: int, seed: int) -> Events:
    """Background: a mass that falls exponentially from 250 GeV on."""
    rng = np.random.default_rng([seed, 2])
    return dijets(250 + rng.exponential(400, number), process, seed, flat=False)
