"""Signal in two groups of features, jets and event features, that background correlates.

A hidden number makes a background event look like signal, or not, in both groups at once.
"""

from __future__ import annotations

import numpy as np

from particle_transformer.events import Events, Ragged

CORRELATION = 0.3
"""Of the two groups in background."""


def toy(number: int, seed: int) -> Events:
    """Events, half of them signal (process 1)."""
    rng = np.random.default_rng(seed)
    signal = rng.integers(0, 2, number)
    hidden = rng.normal(size=(number, 1))
    groups = np.sqrt(1 - CORRELATION) * rng.normal(size=(number, 2)) + np.sqrt(CORRELATION) * hidden
    independent = rng.normal(size=(number, 2))
    groups = np.where(signal[:, None] == 1, 1.5 + independent, groups)  # (events, groups)
    counts = 1 + rng.poisson(1, number)
    jets = np.repeat(groups[:, 0], counts) + 0.5 * rng.normal(size=counts.sum())
    event = groups[:, 1:] + 0.3 * rng.normal(size=(number, 1))
    noise = rng.normal(size=(number, 1))
    return Events(
        {
            "jets": Ragged(
                np.stack([jets, rng.normal(size=len(jets))], 1).astype(np.float32),
                np.append(0, np.cumsum(counts)),
            )
        },
        np.concatenate([event, noise], 1).astype(np.float32),
        np.empty((number, 0), dtype=np.float32),
        np.ones(number),
        np.stack([np.full(number, seed), np.arange(number)], 1),
        signal.astype(np.int16),
        np.zeros(number, dtype=np.int16),
        {},
    )
