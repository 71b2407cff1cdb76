"""Small samples of scored events for the tests."""

from __future__ import annotations

import numpy as np

from particle_transformer.evaluation import ScoredEvents

PROCESSES = ("ttH", "TTbar", "ZToNuNu", "WToLNu")
CLASSES = ("signal", "background", "background", "background")


def scored(score, is_signal, *, weight=None, fold=None, regions=None):
    """Events of two processes, ``sig`` and ``bkg``."""
    score, is_signal = np.asarray(score, dtype=float), np.asarray(is_signal, dtype=bool)
    return ScoredEvents(
        score=score,
        weight=np.ones(len(score)) if weight is None else np.asarray(weight, dtype=float),
        is_signal=is_signal,
        process=np.where(is_signal, 0, 1).astype(np.int16),
        fold=np.zeros(len(score), np.int16) if fold is None else np.asarray(fold, np.int16),
        processes=("sig", "bkg"),
        process_class=("signal", "background"),
        regions=regions or {},
    )


def realistic(events, *, seed=1, folds=3, share=1.0, negative=(0.0, 0.12, 0.08, 0.0)):
    """Four processes with signed weights; yields are `share` of those at full luminosity."""
    rng = np.random.default_rng(seed)
    process = rng.choice(4, size=events, p=[0.3, 0.35, 0.2, 0.15]).astype(np.int16)
    latent = rng.normal(np.array([1.1, -0.7, -1.3, -1.8])[process], 1.0 + 0.1 * process)
    weight = rng.gamma(8, 1 / 8, events)
    weight *= np.where(rng.random(events) < np.array(negative)[process], -1, 1)
    for index, total in enumerate((35.0, 4200.0, 2600.0, 1500.0)):
        own = process == index
        weight[own] *= share * total / weight[own].sum()
    return ScoredEvents(
        score=1 / (1 + np.exp(-latent)),
        weight=weight,
        is_signal=process == 0,
        process=process,
        fold=rng.integers(0, folds, events).astype(np.int16),
        processes=PROCESSES,
        process_class=CLASSES,
        regions={
            "signal": latent > -3,
            "control": latent < -1.5,
        },
    )
